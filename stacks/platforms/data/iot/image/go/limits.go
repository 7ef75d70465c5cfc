package main

import (
	"fmt"
	"log"
	"time"
)

// A session that nobody connects to is kept this long by the server, too (`persistent_client_expiration`).
const sessionKept = 7 * 24 * time.Hour

// enter counts a connection whose user has the server's word, and says why it is one too many.
func (a *accounts) enter(name, client string, kept bool) string {
	if name == administrator {
		return ""
	}
	a.mutex.Lock()
	defer a.mutex.Unlock()
	one := a.get(name)
	if one.connections > 0 && one.open >= one.connections {
		one.refused++
		return fmt.Sprintf("%d connections are open, as many as its limit", one.open)
	}
	if why := a.keep(name, client, kept, one.connections); why != "" {
		one.refused++
		return why
	}
	one.open++
	return ""
}

// keep records a session that the server keeps, or forgets one that it keeps no more.
func (a *accounts) keep(name, client string, kept bool, most int64) string {
	sessions := a.sessions[name]
	if !kept {
		delete(sessions, client)
		return ""
	}
	now := time.Now()
	for other, used := range sessions {
		if now.Sub(used) > sessionKept {
			delete(sessions, other)
		}
	}
	if _, known := sessions[client]; !known && most > 0 && int64(len(sessions)) >= most {
		return fmt.Sprintf("%d sessions are kept, as many as its limit of connections", len(sessions))
	}
	if sessions == nil {
		sessions = map[string]time.Time{}
		a.sessions[name] = sessions
	}
	sessions[client] = now
	return ""
}

// leave counts a connection that has ended.
func (a *accounts) leave(name string) {
	if name == administrator {
		return
	}
	a.mutex.Lock()
	defer a.mutex.Unlock()
	a.get(name).open--
}

// count counts a message to a client.
func (a *accounts) count(name string) {
	if name == administrator {
		return
	}
	a.mutex.Lock()
	defer a.mutex.Unlock()
	a.get(name).sent++
}

// pause counts a message from a client, and says for how long its connection has to wait.
func (a *accounts) pause(name string, bytes int) time.Duration {
	if name == administrator {
		return 0
	}
	a.mutex.Lock()
	defer a.mutex.Unlock()
	one := a.get(name)
	one.received++
	now := time.Now()
	one.tokens = min(messagesAtOnce, one.tokens+now.Sub(one.filled).Seconds()*messagesPerSecond)
	one.filled = now
	one.tokens -= float64(1 + bytes/messageUnit)
	if one.tokens >= 0 {
		return 0
	}
	return time.Duration(-one.tokens / messagesPerSecond * float64(time.Second))
}

// retain counts a retained message, and says whether there is room for it. An empty one clears the topic.
func (a *accounts) retain(name, topic string, payload int) bool {
	if name == administrator {
		name = accountOf(topic)
	}
	a.mutex.Lock()
	defer a.mutex.Unlock()
	one := a.get(name)
	before := one.retained[topic]
	if payload == 0 {
		delete(one.retained, topic)
		one.retainedBytes -= before
		one.full = false
		return true
	}
	now := retainedSize(topic, payload)
	if one.storage > 0 && now > before && one.retainedBytes+now-before > one.storage {
		one.refused++
		if !one.full {
			log.Printf("front: %s holds %d bytes of retained messages, and more are refused", name, one.retainedBytes)
		}
		one.full = true
		return false
	}
	one.retained[topic] = now
	one.retainedBytes += now - before
	return true
}

// retainedSize is what a retained message counts for: the server has a tree of topics and a record for each.
func retainedSize(topic string, payload int) int64 { return int64(len(topic) + payload + 256) }

// publish holds a PUBLISH against the limits. Returns false if the server is not to have it.
func (l *link) publish(p packet) bool {
	found, err := parsePublish(p, l.version)
	if err != nil {
		return true // The server says what is wrong.
	}
	if found.payload > messageBytes {
		l.end(reasonTooLarge, errTooLarge)
		return false
	}
	time.Sleep(l.front.accounts.pause(l.account, len(p.body)))
	if !p.retained() || l.account != administrator && !mayPublish(l.username, found.topic) {
		return true
	}
	if l.front.accounts.retain(l.account, found.topic, found.payload) {
		return true
	}
	if l.version >= versionFive && p.qos() > 0 {
		_ = l.send(unacknowledged(p, found.identifier, reasonQuotaExceeded))
		return false
	}
	l.end(reasonQuotaExceeded, nil)
	return false
}

// end tells a client of MQTT 5 why its connection ends, and ends it.
func (l *link) end(reason byte, err error) {
	if err != nil {
		log.Printf("front: %s: %v", l.username, err)
	}
	if l.version >= versionFive {
		_ = l.send(disconnection(reason))
	}
	l.client.Close()
}
