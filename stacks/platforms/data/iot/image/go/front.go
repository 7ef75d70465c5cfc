package main

import (
	"bufio"
	"crypto/tls"
	"errors"
	"io"
	"log"
	"net"
	"sync"
	"time"
)

const (
	// A client says who it is within this time, and so many may be about to.
	connectTime    = 10 * time.Second
	connectsAtOnce = 200
	// An answer to a wrong password waits.
	refusalTime = time.Second
	// The body of a message, and of a packet with its topic and properties.
	messageBytes = 256 << 10
	packetBytes  = messageBytes + 64<<10
	// A CONNECT may be this large, as its sender is unknown.
	connectBytes = messageBytes + 8<<10
	// A client that takes nothing for so long is cut.
	writeTime = 30 * time.Second
)

// front stands before the server. It gives each client an identifier that no other account can have, and holds the
// limits of an account that the server does not know: connections, kept sessions, retained messages, messages per
// second.
type front struct {
	server   string
	accounts *accounts
	pending  chan struct{}
}

// serve takes connections until the listener is closed.
func (f *front) serve(listener net.Listener) error {
	for {
		client, err := listener.Accept()
		if err != nil {
			return err
		}
		select {
		case f.pending <- struct{}{}:
			go f.handle(client)
		default:
			client.Close()
		}
	}
}

// link is one client's connection with the one to the server that belongs to it.
type link struct {
	front          *front
	client, server net.Conn
	reader         *bufio.Reader
	connecting
	account string
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
	l := &link{front: f, client: client, reader: bufio.NewReader(client)}
	first, err := readPacket(l.reader, connectBytes)
	if err != nil || first.kind() != typeConnect {
		return
	}
	if l.connecting, err = parseConnect(first.body); err != nil {
		log.Printf("front: %s: %v", client.RemoteAddr(), err)
		return
	}
	l.account = accountOf(l.username)
	// The server would give it an identifier of its own, under which the client would not find its session again.
	if l.connecting.client == "" && l.kept {
		l.send(refusal(l.version, reasonIdentifier, refusedIdentifier))
		return
	}
	if l.connecting.client != "" {
		first = l.named(first.first, l.username+"/"+l.connecting.client)
	}
	if l.server, err = net.DialTimeout("tcp", f.server, connectTime); err != nil {
		log.Printf("front: %v", err)
		l.send(refusal(l.version, 0x88, refusedUnavailable))
		return
	}
	defer l.server.Close()
	l.server.SetDeadline(time.Now().Add(connectTime))
	if _, err := l.server.Write(first.bytes()); err != nil {
		return
	}
	answers := bufio.NewReader(l.server)
	answer, err := readPacket(answers, packetBytes)
	if err != nil || answer.kind() != typeConnack || len(answer.body) < 2 {
		return
	}
	if answer.body[1] != 0 {
		time.Sleep(refusalTime)
		l.send(answer)
		return
	}
	if why := f.accounts.enter(l.account, l.connecting.client, l.kept); why != "" {
		log.Printf("front: %s is refused: %s", l.username, why)
		l.server.Write(packet{typeDisconnect << 4, nil}.bytes())
		l.send(refusal(l.version, reasonQuotaExceeded, refusedUnavailable))
		return
	}
	defer f.accounts.leave(l.account)
	known()
	client.SetDeadline(time.Time{})
	l.server.SetDeadline(time.Time{})
	if l.send(answer) != nil {
		return
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		defer client.Close()
		l.toClient(answers)
	}()
	l.toServer()
	// The server sends the will of a client that has not said goodbye.
	l.server.Close()
	<-ended
}

// send writes a packet to the client.
func (l *link) send(p packet) error {
	l.writing.Lock()
	defer l.writing.Unlock()
	l.client.SetWriteDeadline(time.Now().Add(writeTime))
	_, err := l.client.Write(p.bytes())
	return err
}

func (l *link) toClient(answers *bufio.Reader) {
	for {
		p, err := readPacket(answers, 2*packetBytes)
		if err != nil || l.send(p) != nil {
			return
		}
		if p.kind() == typePublish {
			l.front.accounts.count(l.account)
		}
	}
}

func (l *link) toServer() {
	for {
		p, err := readPacket(l.reader, packetBytes)
		if errors.Is(err, errTooLarge) {
			l.end(reasonTooLarge, err)
		}
		if err != nil {
			if !errors.Is(err, io.EOF) && !errors.Is(err, net.ErrClosed) {
				log.Printf("front: %s: %v", l.username, err)
			}
			return
		}
		if p.kind() == typePublish && !l.publish(p) {
			continue
		}
		if _, err := l.server.Write(p.bytes()); err != nil {
			return
		}
	}
}
