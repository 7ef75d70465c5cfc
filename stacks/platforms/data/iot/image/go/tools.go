package main

import (
	"bufio"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Errors of the plug-in that repeating a command brings.
const (
	userThere = "Client already exists"
	userGone  = "Client not found"
	roleThere = "Role already exists"
	roleGone  = "Role not found"
)

func appRights(account string) []right {
	own := account + "/#"
	return []right{
		{"publishClientSend", own, 0, true},
		{"publishClientReceive", own, 0, true},
		{"subscribePattern", own, 0, true},
		{"subscribePattern", "$share/+/" + own, 0, true},
	}
}

func deviceRights(account, device string) []right {
	own := deviceTopics(account, device)
	return []right{
		{"publishClientSend", own + "#", 0, true},
		{"publishClientReceive", own + "commands/#", 0, true},
		{"subscribePattern", own + "commands/#", 0, true},
	}
}

// devicePassword is derived, so that whoever restores an account has the passwords of its devices again.
func devicePassword(key, device string, serial int64) string {
	mac := hmac.New(sha256.New, []byte(key))
	fmt.Fprintf(mac, "%s\n%d", device, serial)
	return base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}

func (d description) String() string {
	words := []string{}
	for _, name := range slices.Sorted(maps.Keys(d)) {
		words = append(words, name+"="+d[name])
	}
	return strings.Join(words, " ")
}

// provision makes an account or changes what differs, as the server ends the sessions of a user that is changed.
func provision(c *control) error {
	name, password := os.Getenv("APP_ROLE"), os.Getenv("APP_PASSWORD")
	all, err := c.users()
	if err != nil {
		return err
	}
	before, known := all[name]
	kept := describedBy(before.TextDescription)
	wanted := description{
		"connections": os.Getenv("CONNECTIONS"),
		"password":    fmt.Sprintf("%x", sha256.Sum256([]byte(password))),
		"key":         kept["key"],
	}
	if wanted["key"] == "" {
		wanted["key"] = token() + token()
	}
	if err := c.role(name, appRights(name)); err != nil {
		return err
	}
	roles := []map[string]string{{"rolename": name}}
	change := command{"username": name, "textdescription": wanted.String(), "roles": roles}
	switch {
	case !known:
		change["command"], change["password"] = "createClient", password
	case before.Disabled || before.TextDescription != wanted.String():
		change["command"], change["password"] = "modifyClient", password
	default:
		return nil
	}
	if _, err := c.ask(nil, change); err != nil {
		return err
	}
	for _, one := range append(devicesOf(all, name), name) {
		if all[one].Disabled {
			if _, err := c.ask(nil, command{"command": "enableClient", "username": one}); err != nil {
				return err
			}
		}
	}
	return nil
}

// role makes a role or gives it these rights, where it has others.
func (c *control) role(name string, rights []right) error {
	answers, err := c.ask([]string{roleThere}, command{"command": "createRole", "rolename": name, "acls": rights})
	if err != nil || answers[0].Error == "" {
		return err
	}
	answers, err = c.ask(nil, command{"command": "getRole", "rolename": name})
	if err != nil {
		return err
	}
	var read struct {
		Role struct {
			Rights []right `json:"acls"`
		} `json:"role"`
	}
	if err := json.Unmarshal(answers[0].Data, &read); err != nil {
		return err
	}
	if len(read.Role.Rights) == len(rights) && !slices.ContainsFunc(rights, func(one right) bool {
		return !slices.Contains(read.Role.Rights, one)
	}) {
		return nil
	}
	_, err = c.ask(nil, command{"command": "modifyRole", "rolename": name, "acls": rights})
	return err
}

// devicesOf are the users of an account's devices.
func devicesOf(all map[string]user, account string) []string {
	found := []string{}
	for name := range all {
		if strings.HasPrefix(name, account+"/") {
			found = append(found, name)
		}
	}
	slices.Sort(found)
	return found
}

// isOf is whether an account is the owner's, whose name may have been shortened (`stacks.platforms.provisioner.IS_OF`).
func isOf(account, owner string) bool {
	if owner == "-" {
		return true
	}
	named := strings.ReplaceAll(owner, "/", ".")
	if len(named) <= 63 {
		return named == account
	}
	const digest = len("-12345678")
	return len(account) > digest && account[len(account)-digest] == '-' &&
		strings.HasPrefix(named, account[:len(account)-digest])
}

// chosen are the accounts of ACCOUNTS that are there.
func chosen(all map[string]user) []string {
	found := []string{}
	for line := range strings.Lines(os.Getenv("ACCOUNTS")) {
		words := strings.Fields(line)
		if len(words) != 2 || !isOf(words[0], words[1]) {
			continue
		}
		if one, known := all[words[0]]; known && isAccount(one) {
			found = append(found, words[0])
		}
	}
	return found
}

// isAccount is whether provisioning has made the user.
func isAccount(one user) bool {
	return one.Username != administrator && !strings.Contains(one.Username, "/")
}

// lock lets nobody in who signs in as an account or its devices, and ends their sessions. Returns the accounts.
func lock(c *control) ([]string, error) {
	all, err := c.users()
	if err != nil {
		return nil, err
	}
	accounts := chosen(all)
	for _, name := range accounts {
		kept := describedBy(all[name].TextDescription)
		if kept["locked"] == "" {
			kept["locked"] = strconv.FormatInt(time.Now().Unix(), 10)
			change := command{"command": "modifyClient", "username": name, "textdescription": kept.String()}
			if _, err := c.ask(nil, change); err != nil {
				return nil, err
			}
		}
		for _, one := range append(devicesOf(all, name), name) {
			if _, err := c.ask([]string{userGone}, command{"command": "disableClient", "username": one}); err != nil {
				return nil, err
			}
		}
	}
	return accounts, nil
}

// remove locks accounts and removes them with their devices and retained messages; the account itself goes last.
func remove(c *control) error {
	accounts, err := lock(c)
	if err != nil {
		return err
	}
	for _, name := range accounts {
		if err := c.clear(name); err != nil {
			return err
		}
		all, err := c.users()
		if err != nil {
			return err
		}
		for _, one := range append(devicesOf(all, name), name) {
			if err := c.forget(one); err != nil {
				return err
			}
		}
	}
	return nil
}

// forget removes a user and its role.
func (c *control) forget(name string) error {
	_, err := c.ask(
		[]string{userGone, roleGone},
		command{"command": "deleteRole", "rolename": name},
		command{"command": "deleteClient", "username": name},
	)
	return err
}

// clear removes the retained messages of an account.
func (c *control) clear(account string) error {
	topics := []string{}
	if err := c.retained(account+"/#", func(m message) { topics = append(topics, m.topic) }); err != nil {
		return err
	}
	for _, topic := range topics {
		if err := waited(c.client.Publish(topic, 1, true, "")); err != nil {
			return err
		}
	}
	return nil
}

// inventory prints what `stacks.platforms.provisioner` says.
func inventory(c *control) error {
	all, err := c.users()
	if err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(all)) {
		one := all[name]
		if !isAccount(one) {
			continue
		}
		bytes := int64(0)
		if err := c.retained(name+"/#", func(m message) { bytes += retainedSize(m.topic, len(m.payload)) }); err != nil {
			return err
		}
		state, since := "open", "-"
		if one.Disabled {
			state = "locked"
			if found := describedBy(one.TextDescription)["locked"]; found != "" {
				since = found
			}
		}
		fmt.Printf("account %s - %d %s %s\n", name, bytes, state, since)
	}
	return nil
}

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

var errOccupied = errors.New("the account has retained messages or devices")

// restore makes an account what a dump says; one that is not there is made locked, for provisioning to open.
func restore(c *control, source io.Reader) (err error) {
	name := os.Getenv("ACCOUNT")
	all, err := c.users()
	if err != nil {
		return err
	}
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
	defer func() { tell() }()
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
		case words[0] == "key" && len(words) == 2:
			key = words[1]
			if err := c.keyed(all, name, key); err != nil {
				return err
			}
		case words[0] == "device" && len(words) == 3:
			serial, err := strconv.ParseInt(words[2], 10, 64)
			if err != nil || !deviceName.MatchString(words[1]) {
				return errors.New("a line of the backup is not one of a device")
			}
			if err := c.device(name, words[1], key, serial); err != nil {
				return err
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
			if err != nil || qos < 0 || qos > 2 || !strings.HasPrefix(string(topic), "/") {
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
func (c *control) keyed(all map[string]user, name, key string) error {
	one, known := all[name]
	kept := describedBy(one.TextDescription)
	kept["key"] = key
	if known {
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

// device makes a device of an account or gives it the password of that serial number.
func (c *control) device(account, device, key string, serial int64) error {
	name := account + "/" + device
	if err := c.role(name, deviceRights(account, device)); err != nil {
		return err
	}
	change := command{
		"command": "createClient", "username": name, "password": devicePassword(key, device, serial),
		"textdescription": description{"serial": strconv.FormatInt(serial, 10)}.String(),
		"roles":           []map[string]string{{"rolename": name}},
	}
	answers, err := c.ask([]string{userThere}, change)
	if err != nil || answers[0].Error == "" {
		return err
	}
	change["command"] = "modifyClient"
	_, err = c.ask(nil, change)
	return err
}
