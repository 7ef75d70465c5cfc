package main

import (
	"fmt"
	"log"
	"strings"
	"time"
)

const (
	// The server forgets a session that nobody connects to after this time, too (`persistent_client_expiration`).
	sessionTime = 7 * 24 * time.Hour
	// What all clients of an account send: messages and requests for topics cost a token each and one for each full unit
	// of bytes; a device that is added or removed costs more, since the server writes all users anew.
	tokensPerSecond, tokensAtOnce = 500, 2000
	tokenBytes                    = 16 << 10
	registryTokens                = 100
	// A will that its client may still have is counted whether the server retains it or not.
	pinned = 1 << 62
)

// enter counts a connection of a client that the server lets in, and says why it is one too many. `session` is the one
// that the server keeps for it if `kept`.
func (a *accounts) enter(name, session string, kept bool, will *publishing) string {
	if name == administrator {
		return ""
	}
	if err := a.read(); err != nil {
		return err.Error()
	}
	a.mutex.Lock()
	defer a.mutex.Unlock()
	one := a.get(name)
	why := ""
	switch {
	case one.open >= one.connections:
		why = fmt.Sprintf("%d connections are open, as many as its limit", one.open)
	case a.open >= a.mostConnections:
		why = fmt.Sprintf("%d connections of all accounts are open, as many as there may be", a.open)
	case will != nil && !a.retain(one, will.topic, will.payload):
		why = "its will is to be retained, and there is no room"
	default:
		why = a.keep(name, session, kept, one.connections)
	}
	if why != "" {
		one.refused++
		return why
	}
	if will != nil {
		one.retained[will.topic] = retainedMessage{one.retained[will.topic].bytes, pinned}
	}
	one.open++
	a.open++
	return ""
}

// keep notes a session that the server keeps, or that it keeps it no more. The caller holds the lock.
func (a *accounts) keep(name, session string, kept bool, most int64) string {
	sessions, now := a.sessions[name], time.Now()
	_, known := sessions[session]
	if !kept {
		a.unsaved = a.unsaved || known
		delete(sessions, session)
		return ""
	}
	for other, used := range sessions {
		if now.Sub(used) > sessionTime {
			delete(sessions, other)
		}
	}
	if !known && int64(len(sessions)) >= most {
		return fmt.Sprintf("%d sessions are kept, as many as its limit of connections", len(sessions))
	}
	if sessions == nil {
		sessions = map[string]time.Time{}
		a.sessions[name] = sessions
	}
	sessions[session] = now
	a.unsaved = true
	return ""
}

// leave counts a connection that has ended. A session that is kept is kept from now on.
func (a *accounts) leave(name, session string, will *publishing) {
	if name == administrator {
		return
	}
	a.mutex.Lock()
	defer a.mutex.Unlock()
	one := a.get(name)
	one.open--
	a.open--
	if will != nil {
		if message, known := one.retained[will.topic]; known {
			one.retained[will.topic] = retainedMessage{message.bytes, a.round}
		}
	}
	if _, known := a.sessions[name][session]; known {
		a.sessions[name][session] = time.Now()
		a.unsaved = true
	}
}

// countSent counts a message to a client.
func (a *accounts) countSent(name string) {
	if name == administrator {
		return
	}
	a.mutex.Lock()
	defer a.mutex.Unlock()
	a.get(name).sent++
}

// countReceived counts a message from a client.
func (a *accounts) countReceived(name string) {
	if name == administrator {
		return
	}
	a.mutex.Lock()
	defer a.mutex.Unlock()
	a.get(name).received++
}

// pause takes tokens from an account, and says for how long the client that sent something has to wait.
func (a *accounts) pause(name string, tokens int) time.Duration {
	if name == administrator {
		return 0
	}
	a.mutex.Lock()
	defer a.mutex.Unlock()
	one, now := a.get(name), time.Now()
	one.tokens = min(tokensAtOnce, one.tokens+now.Sub(one.filled).Seconds()*tokensPerSecond)
	one.filled = now
	one.tokens -= float64(tokens)
	if one.tokens >= 0 {
		return 0
	}
	return time.Duration(-one.tokens / tokensPerSecond * float64(time.Second))
}

// retainFor counts a message that a user has the server retain, and says whether there is room for it.
func (a *accounts) retainFor(name, topic string, payload int) bool {
	a.mutex.Lock()
	defer a.mutex.Unlock()
	one := a.get(name)
	if a.retain(one, topic, payload) {
		return true
	}
	one.refused++
	if !one.full {
		log.Printf("front: %s holds %d bytes of retained messages, and more are refused", name, one.retainedBytes)
		one.full = true
	}
	return false
}

// retain counts a retained message if there is room; an empty one clears its topic. The caller holds the lock.
func (a *accounts) retain(one *account, topic string, payload int) bool {
	before := one.retained[topic].bytes
	if payload == 0 {
		delete(one.retained, topic)
		one.retainedBytes -= before
		one.full = false
		return true
	}
	now := retainedSize(topic, payload)
	if now > before && one.retainedBytes+now-before > a.mostRetained {
		return false
	}
	one.retained[topic] = retainedMessage{now, a.round}
	one.retainedBytes += now - before
	return true
}

// retainedSize is what a retained message counts for: the server has a tree of topics and a record for each. It queues
// as many for whoever asks for all of an account's, so a backup has them all (`max_queued_messages`).
func retainedSize(topic string, payload int) int64 { return int64(len(topic) + payload + 256) }

// begin begins to count anew what the server retains, and returns the accounts.
func (a *accounts) begin() []string {
	a.mutex.Lock()
	defer a.mutex.Unlock()
	a.round++
	names := []string{}
	for name := range a.there {
		if name != administrator && name == accountOf(name) {
			names = append(names, name)
		}
	}
	return names
}

// found counts a message that the server retains, whatever the limit.
func (a *accounts) found(topic string, payload int) {
	a.mutex.Lock()
	defer a.mutex.Unlock()
	name := accountOf(topic)
	if !a.there[name] {
		return
	}
	one := a.get(name)
	if payload == 0 {
		a.retain(one, topic, 0)
		return
	}
	size := retainedSize(topic, payload)
	one.retainedBytes += size - one.retained[topic].bytes
	one.retained[topic] = retainedMessage{size, a.round}
}

// end forgets what the server did not have in this round: messages that have expired, wills that were not needed.
func (a *accounts) end(names []string) {
	a.mutex.Lock()
	defer a.mutex.Unlock()
	for _, name := range names {
		one := a.get(name)
		for topic, message := range one.retained {
			if message.round < a.round {
				delete(one.retained, topic)
				one.retainedBytes -= message.bytes
				one.full = false
			}
		}
	}
}

// publish holds a PUBLISH against the limits. Returns false if the server is not to have it.
func (l *link) publish(p packet) bool {
	found, err := parsePublish(p, l.version)
	if err != nil {
		return true // The server ends the connection and says why.
	}
	if found.payload > messageBytes {
		l.end(reasonTooLarge)
		return false
	}
	l.front.accounts.countReceived(l.account)
	if l.account != administrator && strings.HasPrefix(found.topic, l.account+"/registry/") {
		time.Sleep(l.front.accounts.pause(l.account, registryTokens))
	}
	if !p.retained() {
		return true
	}
	if l.account == administrator {
		// A restore makes an account, and what it has, in a moment.
		if err := l.front.accounts.read(); err != nil {
			log.Printf("front: %v", err)
		}
		l.front.accounts.found(found.topic, found.payload)
		return true
	}
	if !mayPublish(l.username, found.topic) {
		return true // The server refuses it.
	}
	if l.front.accounts.retainFor(l.account, found.topic, found.payload) {
		return true
	}
	if l.version >= versionFive && p.qos() > 0 {
		_ = l.send(unacknowledged(p, found.identifier, reasonQuotaExceeded))
		return false
	}
	l.end(reasonQuotaExceeded)
	return false
}

// end tells a client of MQTT 5 why its connection ends, and ends it.
func (l *link) end(reason byte) {
	log.Printf("front: the connection of %s is ended by reason %#x", l.username, reason)
	if l.version >= versionFive {
		_ = l.send(disconnection(reason))
	}
	l.client.Close()
}
