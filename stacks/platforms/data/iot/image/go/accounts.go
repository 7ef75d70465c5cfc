package main

import (
	"encoding/json"
	"log"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"
)

const (
	// What the front looks at again for accounts that came, went or were changed.
	accountsPeriod = 2 * time.Second
	// Messages that all connections of an account send in a second, on the average and at once. A message counts once
	// more for each full `messageUnit` bytes.
	messagesPerSecond = 500
	messagesAtOnce    = 2000
	messageUnit       = 16 << 10
	// The user of the administrator. Names of accounts have dots.
	administrator = "admin"
)

// accountOf is the account that a user is of: itself, or what stands before the name of a device.
func accountOf(user string) string {
	account, _, _ := strings.Cut(user, "/")
	return account
}

// mayPublish is whether the server lets a user publish on a topic.
func mayPublish(user, topic string) bool {
	account, device, isDevice := strings.Cut(user, "/")
	if isDevice {
		return strings.HasPrefix(topic, deviceTopics(account, device))
	}
	return strings.HasPrefix(topic, account+"/")
}

// deviceTopics is what the topics of a device begin with.
func deviceTopics(account, device string) string { return account + "/devices/" + device + "/" }

// account is what the front knows of one account.
type account struct {
	connections, storage int64
	open                 int64
	// Bytes of retained messages by topic, and of all of them.
	retained      map[string]int64
	retainedBytes int64
	full          bool
	// Tokens of the bucket that bounds messages per second.
	tokens float64
	filled time.Time
	// Counters.
	received, sent, refused int64
}

// accounts are all of them, with the limits that the administrator has set.
type accounts struct {
	path     string
	mutex    sync.Mutex
	known    map[string]*account
	sessions map[string]map[string]time.Time
	changed  time.Time
}

// users is the part of the plug-in's file that the front reads.
type users struct {
	Clients []struct {
		Username        string `json:"username"`
		TextDescription string `json:"textDescription"`
	} `json:"clients"`
}

// follow reads the limits again whenever they have changed.
func (a *accounts) follow() {
	for ; ; time.Sleep(accountsPeriod) {
		if err := a.read(); err != nil {
			log.Printf("accounts: %v", err)
		}
	}
}

func (a *accounts) read() error {
	found, err := os.Stat(a.path)
	if err != nil || found.ModTime().Equal(a.changed) {
		return err
	}
	text, err := os.ReadFile(a.path)
	if err != nil {
		return err
	}
	var read users
	if err := json.Unmarshal(text, &read); err != nil {
		return err
	}
	a.mutex.Lock()
	defer a.mutex.Unlock()
	a.changed = found.ModTime()
	there := map[string]bool{}
	for _, client := range read.Clients {
		if client.Username == administrator || strings.Contains(client.Username, "/") {
			continue
		}
		there[client.Username] = true
		described := describedBy(client.TextDescription)
		one := a.get(client.Username)
		one.connections, one.storage = described.number("connections"), described.number("storage")
	}
	for name, one := range a.known {
		if !there[name] && one.open == 0 {
			delete(a.known, name)
		}
	}
	return nil
}

// get is the account of that name, which the caller has locked.
func (a *accounts) get(name string) *account {
	one := a.known[name]
	if one == nil {
		one = &account{retained: map[string]int64{}, tokens: messagesAtOnce, filled: time.Now()}
		a.known[name] = one
	}
	return one
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

func (d description) number(name string) int64 {
	number, err := strconv.ParseInt(d[name], 10, 64)
	if err != nil {
		return 0
	}
	return number
}
