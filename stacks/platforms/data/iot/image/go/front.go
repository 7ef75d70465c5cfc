package main

import (
	"bufio"
	"crypto/tls"
	"errors"
	"log"
	"net"
	"sync"
	"time"
)

const (
	// A client says who it is within this time, and so many may be about to.
	connectTime    = 10 * time.Second
	connectsAtOnce = 200
	// Nobody tries passwords faster than with this pause.
	refusalTime = time.Second
	// The payload of a message, and the body of a packet, which has a topic and properties as well.
	messageBytes = 256 << 10
	packetBytes  = messageBytes + 64<<10
	// Whoever sends a CONNECT is not known yet.
	connectBytes = 64 << 10
	// A client that takes nothing for so long is cut.
	writeTime = 30 * time.Second
)

// front stands before the server. It gives the session of each client a name that no other user's can have, since the
// server would hand a session to whoever knows its name; and it holds the limits of an account that the server does not
// have: connections, kept sessions, retained messages, what is sent in a second.
type front struct {
	server   string
	accounts *accounts
	// Clients that have not said who they are.
	pending chan struct{}
}

// serve takes connections until the listener is closed.
func (f *front) serve(listener net.Listener) error {
	for {
		client, err := listener.Accept()
		if errors.Is(err, net.ErrClosed) {
			return err
		}
		if err != nil {
			// As without a descriptor: there will be one again.
			log.Printf("front: %v", err)
			time.Sleep(time.Second)
			continue
		}
		select {
		case f.pending <- struct{}{}:
			go f.handle(client)
		default:
			client.Close()
		}
	}
}

// link is one client's connection, with the one to the server that belongs to it.
type link struct {
	connecting
	front          *front
	client, server net.Conn
	fromClient     *bufio.Reader
	fromServer     *bufio.Reader
	account        string
	session        string
	// Both directions write to the client.
	writing sync.Mutex
}

func (f *front) handle(client net.Conn) {
	defer client.Close()
	known := sync.OnceFunc(func() { <-f.pending })
	defer known()
	client.SetDeadline(time.Now().Add(connectTime))
	if secured, ok := client.(*tls.Conn); ok && secured.Handshake() != nil {
		return
	}
	l := &link{front: f, client: client, fromClient: bufio.NewReader(client)}
	asked, err := readPacket(l.fromClient, connectBytes)
	if err != nil || asked.kind() != typeConnect {
		return
	}
	if l.connecting, err = parseConnect(asked.body); err != nil {
		log.Printf("front: a connection of %s is refused: %v", client.RemoteAddr(), err)
		return
	}
	l.account = accountOf(l.username)
	if !l.signIn(asked) {
		return
	}
	// It has the password.
	l.before, l.after = nil, nil
	defer l.server.Close()
	defer f.accounts.leave(l.account, l.session, l.will)
	known()
	client.SetDeadline(time.Time{})
	l.server.SetDeadline(time.Time{})
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		defer client.Close()
		l.toClient()
	}()
	l.toServer()
	// The server publishes the will of a client that has not said goodbye.
	l.server.Close()
	<-ended
}

// signIn has the server judge a CONNECT, and the limits. Returns false if the client is refused, which it knows then.
func (l *link) signIn(asked packet) bool {
	switch {
	case l.bridge:
		// A bridge is trusted with more than a client. It asks again as one.
		_ = l.send(refusal(l.version, reasonVersion, refusedVersion))
		return false
	case l.connecting.client == "" && l.kept:
		// The server would give it a name under which it would not find its session again.
		_ = l.send(refusal(l.version, reasonIdentifier, refusedIdentifier))
		return false
	case l.connecting.client != "":
		l.session = sessionOf(l.username, l.connecting.client)
		asked = l.named(asked.first, l.session)
	}
	server, err := net.DialTimeout("tcp", l.front.server, connectTime)
	if err != nil {
		log.Printf("front: %v", err)
		_ = l.send(refusal(l.version, reasonUnavailable, refusedUnavailable))
		return false
	}
	l.server, l.fromServer = server, bufio.NewReader(server)
	answered, err := l.forward(asked)
	switch {
	case err != nil:
	case answered.body[1] != 0:
		time.Sleep(refusalTime)
		_ = l.send(answered)
	default:
		if l.will != nil && (l.will.payload == 0 || !mayPublish(l.username, l.will.topic)) {
			l.will = nil // It clears its topic, or the server does not publish it.
		}
		why := l.front.accounts.enter(l.account, l.session, l.kept, l.will)
		if why == "" {
			if l.send(answered) == nil {
				return true
			}
			l.front.accounts.leave(l.account, l.session, l.will)
			break
		}
		log.Printf("front: %s is refused: %s", l.username, why)
		// Goodbye: its will is not published.
		_, _ = server.Write(packet{typeDisconnect << 4, nil}.bytes())
		_ = l.send(refusal(l.version, reasonQuotaExceeded, refusedUnavailable))
	}
	server.Close()
	return false
}

// forward sends a CONNECT to the server and returns the CONNACK.
func (l *link) forward(asked packet) (packet, error) {
	l.server.SetDeadline(time.Now().Add(connectTime))
	if _, err := l.server.Write(asked.bytes()); err != nil {
		return packet{}, err
	}
	answered, err := readPacket(l.fromServer, packetBytes)
	if err == nil && (answered.kind() != typeConnack || len(answered.body) < 2) {
		err = errMalformed
	}
	return answered, err
}

// send writes a packet to the client.
func (l *link) send(p packet) error {
	l.writing.Lock()
	defer l.writing.Unlock()
	l.client.SetWriteDeadline(time.Now().Add(writeTime))
	_, err := l.client.Write(p.bytes())
	return err
}

func (l *link) toClient() {
	for {
		p, err := readPacket(l.fromServer, 2*packetBytes)
		if err != nil || l.send(p) != nil {
			return
		}
		if p.kind() == typePublish {
			l.front.accounts.countSent(l.account)
		}
	}
}

func (l *link) toServer() {
	for {
		p, err := readPacket(l.fromClient, packetBytes)
		if errors.Is(err, errTooLarge) {
			l.end(reasonTooLarge)
		}
		if err != nil {
			return
		}
		switch p.kind() {
		case typePublish, typeSubscribe, typeUnsub:
			time.Sleep(l.front.accounts.pause(l.account, 1+len(p.body)/tokenBytes))
		}
		if p.kind() == typePublish && !l.publish(p) {
			continue
		}
		if _, err := l.server.Write(p.bytes()); err != nil {
			return
		}
	}
}
