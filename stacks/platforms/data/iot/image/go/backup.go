package main

import (
	"bufio"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"
)

// dump prints an account: its key, its devices, its retained messages.
func dump(c *control) error {
	name := os.Getenv("ACCOUNT")
	all, err := c.users()
	if err != nil {
		return err
	}
	one, known := all[name]
	if !known {
		return fmt.Errorf("there is no account %s", name)
	}
	out := bufio.NewWriter(os.Stdout)
	fmt.Fprintf(out, "key %s\n", describedBy(one.TextDescription)["key"])
	for _, device := range devicesOf(all, name) {
		serial := describedBy(all[device].TextDescription).number("serial")
		fmt.Fprintf(out, "device %s %d\n", strings.TrimPrefix(device, name+"/"), serial)
	}
	if err := c.retained(name+"/#", func(m message) {
		topic := strings.TrimPrefix(m.topic, name)
		fmt.Fprintf(out, "retained %d %s %s\n", m.qos, hex.EncodeToString([]byte(topic)), hex.EncodeToString(m.payload))
	}); err != nil {
		return err
	}
	fmt.Fprintln(out, "end")
	return out.Flush()
}

// errOccupied is that of a restore into an account that has data, unless it is told to replace it.
var errOccupied = errors.New("the account has retained messages or devices")

// restore makes an account what a dump says; one that is not there is made locked, for provisioning to open.
func restore(c *control, source io.Reader) error {
	name := os.Getenv("ACCOUNT")
	all, err := c.users()
	if err != nil {
		return err
	}
	one, known := all[name]
	locked := !known || one.Disabled
	there := len(devicesOf(all, name))
	if err := c.retained(name+"/#", func(message) { there++ }); err != nil {
		return err
	}
	if there > 0 && os.Getenv("REPLACE") != "yes" {
		return errOccupied
	}
	written := 0
	tell := func() {
		said := fmt.Sprintf("what %s had was deleted, and %d lines of the backup's are written\n", name, written)
		_ = os.WriteFile(os.Getenv("CHANGED"), []byte(said), 0o600)
	}
	tell()
	defer tell()
	if err := c.clear(name); err != nil {
		return err
	}
	for _, device := range devicesOf(all, name) {
		if err := c.forget(device); err != nil {
			return err
		}
	}
	lines := bufio.NewReaderSize(source, 1<<20)
	key := ""
	for {
		line, err := lines.ReadString('\n')
		if err != nil {
			return errors.New("the stream ends before its end")
		}
		words := strings.Split(strings.TrimSuffix(line, "\n"), " ")
		switch {
		case words[0] == "end":
			_, err := io.Copy(io.Discard, lines)
			return err
		case words[0] == "key" && len(words) == 2 && len(words[1]) >= keyLength:
			key = words[1]
			if err := c.keyed(one, name, key); err != nil {
				return err
			}
		case words[0] == "device" && len(words) == 3:
			serial, err := strconv.ParseInt(words[2], 10, 64)
			if err != nil || key == "" || !deviceName.MatchString(words[1]) {
				return errors.New("a line of the backup is not one of a device")
			}
			if err := c.device(name, words[1], key, serial); err != nil {
				return err
			}
			if locked {
				user := name + "/" + words[1]
				if _, err := c.ask(nil, command{"command": "disableClient", "username": user}); err != nil {
					return err
				}
			}
		case words[0] == "retained" && len(words) == 4:
			topic, err := hex.DecodeString(words[2])
			if err != nil {
				return err
			}
			payload, err := hex.DecodeString(words[3])
			if err != nil {
				return err
			}
			qos, err := strconv.Atoi(words[1])
			if err != nil || qos < 0 || qos > 2 || len(topic) > 0 && topic[0] != '/' {
				return errors.New("a line of the backup is not one of a retained message")
			}
			if err := waited(c.client.Publish(name+string(topic), byte(qos), true, payload)); err != nil {
				return err
			}
		default:
			return fmt.Errorf("the backup has a line that begins with %q", words[0])
		}
		written++
	}
}

// keyed gives an account the key from which the passwords of its devices are derived.
// One that is not there is made, and locked.
func (c *control) keyed(one user, name, key string) error {
	kept := describedBy(one.TextDescription)
	kept["key"] = key
	if one.Username != "" {
		_, err := c.ask(nil, command{"command": "modifyClient", "username": name, "textdescription": kept.String()})
		return err
	}
	kept["locked"] = strconv.FormatInt(time.Now().Unix(), 10)
	if err := c.role(name, appRights(name)); err != nil {
		return err
	}
	_, err := c.ask(
		nil,
		command{
			"command": "createClient", "username": name, "password": token(), "textdescription": kept.String(),
			"roles": []map[string]string{{"rolename": name}},
		},
		command{"command": "disableClient", "username": name},
	)
	return err
}
