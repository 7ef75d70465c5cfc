package main

import (
	"log"
	"regexp"
	"strings"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"
)

// The devices that an account may have.
const mostDevices = 1000

// A device's name is a level of a topic, a part of a user's name and a word of a backup.
var deviceName = regexp.MustCompile(`^[a-z0-9]([a-z0-9_-]{0,61}[a-z0-9])?$`)

// register adds and removes devices as apps ask for it, on `<account>/registry/<device>`: `add` is answered with the
// password on `<account>/registry/<device>/answer`, and so is `remove`. Only the app itself has these topics.
func register(known *accounts, where address, password string) {
	asked := make(chan mqtt.Message, 100)
	c, err := connect(where, password, 1<<30, func(c *control) {
		c.client.Subscribe("+/registry/+", 1, func(_ mqtt.Client, m mqtt.Message) {
			select {
			case asked <- m:
			default: // Whoever asks gets no answer, and asks again.
			}
		})
		go known.countRetained(c)
	})
	if err != nil {
		log.Printf("front: %v", err)
		return
	}
	defer c.close()
	for m := range asked {
		if len(m.Payload()) == 0 {
			continue
		}
		if m.Retained() {
			c.client.Publish(m.Topic(), 1, true, "")
		}
		words := strings.Split(m.Topic(), "/")
		said := c.registered(words[0], words[2], string(m.Payload()))
		if err := waited(c.client.Publish(m.Topic()+"/answer", 1, false, said)); err != nil {
			log.Printf("front: %v", err)
		}
	}
}

// registered adds or removes a device, and returns the answer.
func (c *control) registered(account, device, wish string) string {
	all, err := c.users()
	if err != nil {
		log.Printf("front: %v", err)
		return "error: the server does not answer; ask again"
	}
	owner, there := all[account]
	devices := devicesOf(all, account)
	held, known := all[account+"/"+device]
	switch {
	case !there || owner.Disabled:
		return "error: the account is locked"
	case !deviceName.MatchString(device):
		return "error: a device's name has 1 to 63 of a-z, 0-9, _ and -, and begins and ends with a letter or digit"
	case wish == "remove":
		err = c.forget(account + "/" + device)
	case wish != "add":
		return "error: publish add or remove"
	case !known && len(devices) >= mostDevices:
		return "error: the account has 1000 devices, which is the most"
	default:
		key, serial := describedBy(owner.TextDescription)["key"], describedBy(held.TextDescription).number("serial")+1
		if err = c.device(account, device, key, serial); err == nil {
			return "password: " + devicePassword(key, device, serial)
		}
	}
	if err != nil {
		log.Printf("front: %s/%s: %v", account, device, err)
		return "error: the server does not do it; ask again"
	}
	return "removed"
}

// countRetained counts the retained messages of all accounts that the server has when it starts.
func (a *accounts) countRetained(c *control) {
	time.Sleep(time.Second)
	if err := c.retained("#", func(m message) { a.retain(accountOf(m.topic), m.topic, len(m.payload)) }); err != nil {
		log.Printf("front: %v", err)
	}
}
