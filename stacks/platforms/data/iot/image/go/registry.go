package main

import (
	"fmt"
	"log"
	"regexp"
	"strings"
	"sync/atomic"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"
)

const (
	// The devices that an account may have.
	mostDevices = 1000
	// What the server retains is counted anew this often.
	countPeriod = 10 * time.Minute
)

// A device's name is a level of a topic, a part of a user's name and a word of a backup.
var deviceName = regexp.MustCompile(`^[a-z0-9]([a-z0-9_-]{0,61}[a-z0-9])?$`)

// What the server measures of itself, by its topic. Source: mosquitto 2.0, mosquitto(8), broker status.
var measured = map[string]string{
	"$SYS/broker/store/messages/bytes":     "wecity_iot_server_stored_bytes",
	"$SYS/broker/publish/messages/dropped": "wecity_iot_server_dropped_messages_total",
	"$SYS/broker/subscriptions/count":      "wecity_iot_server_subscriptions",
}

// attendant is the front's own connection as the administrator: it adds and removes devices as apps ask for it, and
// learns what the server measures.
type attendant struct {
	accounts *accounts
	where    address
	password string
	asked    chan mqtt.Message
	// The connection, once there is one.
	held atomic.Pointer[control]
}

func newAttendant(known *accounts, where address, password string) *attendant {
	return &attendant{accounts: known, where: where, password: password, asked: make(chan mqtt.Message, 100)}
}

// ready is whether the server lets the attendant in.
func (t *attendant) ready() bool {
	held := t.held.Load()
	return held != nil && held.client.IsConnectionOpen()
}

// attend serves until the program ends. An app publishes `add` or `remove` on `<account>/registry/<device>`, where no
// device may, and is answered on `<account>/registry/<device>/answer`.
func (t *attendant) attend() {
	c, err := connect(t.where, t.password, 1<<30, t.subscribe)
	if err != nil {
		log.Fatalf("front: %v", err)
	}
	t.held.Store(c)
	count := time.NewTicker(countPeriod)
	t.count()
	for {
		select {
		case <-count.C:
			t.count()
		case m := <-t.asked:
			t.answer(c, m)
		}
	}
}

func (t *attendant) subscribe(c *control) {
	c.client.Subscribe("+/registry/+", 1, func(_ mqtt.Client, m mqtt.Message) {
		select {
		case t.asked <- m:
		default: // Whoever gets no answer asks again.
		}
	})
	for topic, name := range measured {
		c.client.Subscribe(topic, 0, func(_ mqtt.Client, m mqtt.Message) {
			t.accounts.measure(name, string(m.Payload()))
		})
	}
}

// answer does what an app asks for. A message that the app has retained is cleared.
func (t *attendant) answer(c *control, m mqtt.Message) {
	words := strings.Split(m.Topic(), "/")
	if len(m.Payload()) == 0 || len(words) != 3 {
		return
	}
	c.client.Publish(m.Topic(), 1, true, "")
	t.accounts.found(m.Topic(), 0)
	said := c.registered(words[0], words[2], string(m.Payload()))
	if err := waited(c.client.Publish(m.Topic()+"/answer", 1, false, said)); err != nil {
		log.Printf("front: %v", err)
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
	held, known := all[account+"/"+device]
	switch {
	case !there || owner.Disabled:
		return "error: the account is locked"
	case !deviceName.MatchString(device):
		return "error: a device's name has 1 to 63 of a-z, 0-9, _ and -, and begins and ends with a letter or digit"
	case wish == "remove":
		if err = c.forget(account + "/" + device); err == nil {
			return "removed"
		}
	case wish != "add":
		return "error: publish add or remove"
	case !known && len(devicesOf(all, account)) >= mostDevices:
		return fmt.Sprintf("error: the account has %d devices, as many as it may", mostDevices)
	default:
		key, serial := describedBy(owner.TextDescription)["key"], describedBy(held.TextDescription).number("serial")+1
		if err = c.device(account, device, key, serial); err == nil {
			return "password " + devicePassword(key, device, serial)
		}
	}
	log.Printf("front: %s of %s/%s: %v", wish, account, device, err)
	return "error: the server does not do it; ask again"
}

// count counts what the server retains, on a connection of its own: a message comes once for each topic that is asked
// for, and a device would be added twice.
func (t *attendant) count() {
	c, err := connect(t.where, t.password, 1, nil)
	if err != nil {
		log.Printf("front: %v", err)
		return
	}
	defer c.close()
	names := t.accounts.begin()
	for _, name := range names {
		err := c.retained(name+"/#", func(m message) { t.accounts.found(m.topic, len(m.payload)) })
		if err != nil {
			log.Printf("front: %v", err)
			return
		}
	}
	t.accounts.end(names)
}

// end ends a session that the server keeps: it gives it to the administrator, who does not keep it.
func (t *attendant) end(session string) error {
	options := mqtt.NewClientOptions().SetClientID(session).SetCleanSession(true).SetAutoReconnect(false)
	options.SetUsername(administrator).SetPassword(t.password).SetConnectTimeout(connectTime)
	options.AddBroker("tcp://" + t.where.host + ":" + t.where.port)
	client := mqtt.NewClient(options)
	if err := waited(client.Connect()); err != nil {
		return err
	}
	client.Disconnect(250)
	return nil
}
