package main

import (
	"encoding/json"
	"errors"
	"io/fs"
	"log"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"
)

// The front looks this often whether accounts or their limits have changed, and writes what it knows of sessions.
const accountsPeriod = 2 * time.Second

// The user of the administrator. Names of accounts have dots.
const administrator = "admin"

// accountOf is the account that a user is of: itself, or what stands before the name of a device.
func accountOf(user string) string {
	account, _, _ := strings.Cut(user, "/")
	return account
}

// mayPublish is whether the server lets a user publish on a topic: on one below its own, or on that itself.
func mayPublish(user, topic string) bool {
	account, device, isDevice := strings.Cut(user, "/")
	own := account + "/"
	if isDevice {
		own = deviceTopics(account, device)
	}
	return strings.HasPrefix(topic+"/", own)
}

// deviceTopics is what the topics of a device begin with.
func deviceTopics(account, device string) string { return account + "/devices/" + device + "/" }

// sessionOf names the session of a user's client. No name of a user has a colon.
func sessionOf(user, client string) string { return user + ":" + client }

// account is what the front knows of one account.
type account struct {
	// The most connections at a time, and how many there are.
	connections, open int64
	// Retained messages by topic, and their bytes. `full` is whether the log says that more are refused.
	retained      map[string]retainedMessage
	retainedBytes int64
	full          bool
	// The tokens of the bucket that bounds what the account sends in a second, and when some were added.
	tokens float64
	filled time.Time
	// Counters: messages from clients, messages to clients, what was refused.
	received, sent, refused int64
}

// retainedMessage is the size of one, and the count of all of them in which it was seen.
type retainedMessage struct{ bytes, round int64 }

// accounts are all of them, with what they may.
type accounts struct {
	// The plug-in's file with users, and the front's own with sessions.
	users, sessionsFile string
	// The most connections of all accounts, and the most bytes of retained messages of each.
	mostConnections, mostRetained int64

	mutex sync.Mutex
	known map[string]*account
	// The users that there are; nil before the file was read.
	there map[string]bool
	// The sessions that the server keeps, by account, and when each was last connected.
	sessions map[string]map[string]time.Time
	unsaved  bool
	open     int64
	round    int64
	changed  time.Time
	// What the server measures of itself, by the name of the metric.
	server map[string]string
}

func newAccounts(users, sessions string, connections, retained int64) *accounts {
	return &accounts{
		users: users, sessionsFile: sessions, mostConnections: connections, mostRetained: retained,
		known: map[string]*account{}, sessions: map[string]map[string]time.Time{}, server: map[string]string{},
	}
}

// load reads the sessions that an earlier front has written.
func (a *accounts) load() error {
	text, err := os.ReadFile(a.sessionsFile)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if err := json.Unmarshal(text, &a.sessions); err != nil {
		// They only bound how many there are more.
		log.Printf("front: %s is not read: %v", a.sessionsFile, err)
		a.sessions = map[string]map[string]time.Time{}
	}
	return nil
}

// follow keeps up with the users that there are. `end` ends a session on the server whose user is gone.
func (a *accounts) follow(end func(session string) error) {
	for ; ; time.Sleep(accountsPeriod) {
		if err := a.read(); err != nil {
			log.Printf("front: %v", err)
		}
		for _, session := range a.left() {
			if err := end(session); err != nil {
				log.Printf("front: the session %s of a user that is gone is not ended: %v", session, err)
				break
			}
			a.forget(session)
		}
		if err := a.save(); err != nil {
			log.Printf("front: %v", err)
		}
	}
}

// read takes over users and limits if the file has changed.
func (a *accounts) read() error {
	a.mutex.Lock()
	defer a.mutex.Unlock()
	found, err := os.Stat(a.users)
	if err != nil || found.ModTime().Equal(a.changed) {
		return err
	}
	text, err := os.ReadFile(a.users)
	if err != nil {
		return err
	}
	var read struct {
		Clients []struct {
			Username        string `json:"username"`
			TextDescription string `json:"textdescription"`
		} `json:"clients"`
	}
	if err := json.Unmarshal(text, &read); err != nil {
		return err
	}
	a.changed, a.there = found.ModTime(), map[string]bool{}
	for _, client := range read.Clients {
		a.there[client.Username] = true
		if client.Username != administrator && client.Username == accountOf(client.Username) {
			a.get(client.Username).connections = describedBy(client.TextDescription).number("connections")
		}
	}
	for name, one := range a.known {
		if !a.there[name] && one.open == 0 {
			delete(a.known, name)
		}
	}
	return nil
}

// get is the account of that name. The caller holds the lock.
func (a *accounts) get(name string) *account {
	one := a.known[name]
	if one == nil {
		one = &account{retained: map[string]retainedMessage{}, tokens: tokensAtOnce, filled: time.Now()}
		a.known[name] = one
	}
	return one
}

// left are the sessions whose users are gone.
func (a *accounts) left() []string {
	a.mutex.Lock()
	defer a.mutex.Unlock()
	found := []string{}
	if a.there == nil {
		return found
	}
	for _, sessions := range a.sessions {
		for session := range sessions {
			if user, _, _ := strings.Cut(session, ":"); !a.there[user] {
				found = append(found, session)
			}
		}
	}
	return found
}

// forget forgets a session that the server does not have.
func (a *accounts) forget(session string) {
	a.mutex.Lock()
	defer a.mutex.Unlock()
	user, _, _ := strings.Cut(session, ":")
	delete(a.sessions[accountOf(user)], session)
	a.unsaved = true
}

// save writes the sessions if they have changed.
func (a *accounts) save() error {
	a.mutex.Lock()
	defer a.mutex.Unlock()
	if !a.unsaved {
		return nil
	}
	text, err := json.Marshal(a.sessions)
	if err != nil {
		return err
	}
	if err := os.WriteFile(a.sessionsFile+".new", text, 0o600); err != nil {
		return err
	}
	if err := os.Rename(a.sessionsFile+".new", a.sessionsFile); err != nil {
		return err
	}
	a.unsaved = false
	return nil
}

// description is what the server keeps with a user, as words `name=value`.
type description map[string]string

func describedBy(text string) description {
	found := description{}
	for _, word := range strings.Fields(text) {
		if name, value, ok := strings.Cut(word, "="); ok {
			found[name] = value
		}
	}
	return found
}

// number is a value as a number; 0 if there is none.
func (d description) number(name string) int64 {
	number, err := strconv.ParseInt(d[name], 10, 64)
	if err != nil {
		return 0
	}
	return number
}
