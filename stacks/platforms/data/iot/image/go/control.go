package main

import (
	"bytes"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"
)

const (
	controlTopic = "$CONTROL/dynamic-security/v1"
	answerTopic  = controlTopic + "/response"
	answerTime   = 20 * time.Second
	// MQTT 3.1.1, the latest that the client speaks.
	versionOfClient = 4
	// Users that one answer lists.
	pageOfUsers = 200
)

// command is one of the server's plug-in for users and rights. Source: mosquitto 2.0, mosquitto_ctrl_dynsec(1) and
// plugins/dynamic-security/README.md.
type command map[string]any

// answer is that to one command.
type answer struct {
	Command string          `json:"command"`
	Error   string          `json:"error"`
	Data    json.RawMessage `json:"data"`
}

// user is one of the server's, as the plug-in tells it.
type user struct {
	Username        string `json:"username"`
	TextDescription string `json:"textdescription"`
	Disabled        bool   `json:"disabled"`
}

// right lets a role publish, be sent or subscribe.
type right struct {
	Kind  string `json:"acltype"`
	Topic string `json:"topic"`
	Order int    `json:"priority"`
	Allow bool   `json:"allow"`
}

// control is a connection of the administrator's.
type control struct {
	client mqtt.Client
	asking sync.Mutex
	// What the commands that are being asked are told apart by.
	asked   atomic.Value
	answers chan []byte
}

// address is where a server listens, and how it is known: by the certificates in the file `authority`, or not at all for
// a plain connection.
type address struct{ host, port, authority string }

// connect signs the administrator in; `tries` is how often, a second apart. With `ready`, which is called after each
// time that it has connected, it connects again when the connection is lost.
func connect(where address, password string, tries int, ready func(*control)) (*control, error) {
	options := mqtt.NewClientOptions().SetClientID(token()).SetUsername(administrator).SetPassword(password)
	options.SetConnectTimeout(10 * time.Second).SetWriteTimeout(20 * time.Second).SetAutoReconnect(ready != nil)
	options.SetMaxReconnectInterval(5 * time.Second).SetProtocolVersion(versionOfClient)
	scheme := "tcp"
	if where.authority != "" {
		text, err := os.ReadFile(where.authority)
		if err != nil {
			return nil, err
		}
		known := x509.NewCertPool()
		if !known.AppendCertsFromPEM(text) {
			return nil, fmt.Errorf("%s has no certificate", where.authority)
		}
		scheme = "ssl"
		options.SetTLSConfig(&tls.Config{RootCAs: known, ServerName: where.host, MinVersion: tls.VersionTLS12})
	}
	options.AddBroker(fmt.Sprintf("%s://%s:%s", scheme, where.host, where.port))
	found := &control{answers: make(chan []byte, 8)}
	hear := func(client mqtt.Client) error {
		return waited(client.Subscribe(answerTopic, 1, func(_ mqtt.Client, m mqtt.Message) {
			found.hear(m.Payload())
		}))
	}
	if ready != nil {
		// In a routine of its own, after each time that it has connected.
		options.SetOnConnectHandler(func(client mqtt.Client) {
			if err := hear(client); err != nil {
				log.Printf("front: %v", err)
				return
			}
			ready(found)
		})
	}
	found.client = mqtt.NewClient(options)
	for {
		err := waited(found.client.Connect())
		if err == nil && ready == nil {
			err = hear(found.client)
		}
		if err == nil {
			return found, nil
		}
		// Somebody else's server stays somebody else's.
		var untrusted *tls.CertificateVerificationError
		if tries--; tries <= 0 || errors.As(err, &untrusted) {
			return nil, err
		}
		time.Sleep(time.Second)
	}
}

// hear takes an answer of the plug-in, which tells all administrators what it answers one of them. Those to others are
// dropped here: they would leave no room for the one that is waited for.
func (c *control) hear(text []byte) {
	asked, _ := c.asked.Load().(string)
	if asked == "" || !bytes.Contains(text, []byte(asked)) {
		return
	}
	select {
	case c.answers <- text:
	default:
	}
}

func waited(token mqtt.Token) error {
	if !token.WaitTimeout(answerTime) {
		return errors.New("the server does not answer")
	}
	return token.Error()
}

func (c *control) close() { c.client.Disconnect(250) }

// token is a name that nobody has had.
func token() string {
	drawn := make([]byte, 16)
	_, _ = rand.Read(drawn)
	return hex.EncodeToString(drawn)
}

// ask sends commands, and returns the answer to each. The first with an error that is none of `expected` is an error.
func (c *control) ask(expected []string, commands ...command) ([]answer, error) {
	c.asking.Lock()
	defer c.asking.Unlock()
	asked := token()
	c.asked.Store(asked)
	for _, one := range commands {
		one["correlationData"] = asked
	}
	text, err := json.Marshal(map[string]any{"commands": commands})
	if err != nil {
		return nil, err
	}
	if err := waited(c.client.Publish(controlTopic, 1, false, text)); err != nil {
		return nil, err
	}
	late := time.After(answerTime)
	for {
		select {
		case <-late:
			return nil, errors.New("the server does not answer a command")
		case text := <-c.answers:
			var read struct {
				Responses []struct {
					answer
					CorrelationData string `json:"correlationData"`
				} `json:"responses"`
			}
			if err := json.Unmarshal(text, &read); err != nil {
				return nil, err
			}
			if len(read.Responses) == 0 || read.Responses[0].CorrelationData != asked {
				continue
			}
			found := []answer{}
			for _, one := range read.Responses {
				if one.Error != "" && !slices.Contains(expected, one.Error) {
					return nil, fmt.Errorf("%s: %s", one.Command, one.Error)
				}
				found = append(found, one.answer)
			}
			return found, nil
		}
	}
}

// users are all of the server's by name.
func (c *control) users() (map[string]user, error) {
	found := map[string]user{}
	for offset := 0; ; offset += pageOfUsers {
		answers, err := c.ask(nil, command{"command": "listClients", "verbose": true, "count": pageOfUsers, "offset": offset})
		if err != nil {
			return nil, err
		}
		var page struct {
			Clients []user `json:"clients"`
		}
		if err := json.Unmarshal(answers[0].Data, &page); err != nil {
			return nil, err
		}
		for _, one := range page.Clients {
			found[one.Username] = one
		}
		if len(page.Clients) < pageOfUsers {
			return found, nil
		}
	}
}

// message is a retained one.
type message struct {
	topic   string
	qos     byte
	payload []byte
}

// retained hands all retained messages of the topics that a filter matches to `take`. The server queues no more for a
// connection than it retains of one account, so a filter is one account's.
func (c *control) retained(filter string, take func(message)) error {
	end := "wecity.end/" + token()
	done := make(chan struct{})
	once := sync.OnceFunc(func() { close(done) })
	if err := waited(c.client.Subscribe(end, 1, func(mqtt.Client, mqtt.Message) { once() })); err != nil {
		return err
	}
	got := make(chan struct{}, 1)
	each := func(_ mqtt.Client, m mqtt.Message) {
		select {
		case got <- struct{}{}:
		default:
		}
		if m.Retained() {
			take(message{m.Topic(), m.Qos(), m.Payload()})
		}
	}
	if err := waited(c.client.Subscribe(filter, 1, each)); err != nil {
		return err
	}
	if err := waited(c.client.Publish(end, 1, false, "")); err != nil {
		return err
	}
	for {
		select {
		case <-done:
			return waited(c.client.Unsubscribe(filter, end))
		case <-got:
		case <-time.After(answerTime):
			return errors.New("the server does not tell its retained messages to their end")
		}
	}
}
