package main

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"
)

// The characters of the key from which the passwords of an account's devices are derived.
const keyLength = 64

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
	if len(wanted["key"]) < keyLength {
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

// forget removes a user and its role, in this order: the plug-in ends with a segmentation fault where it removes a user
// whose role is gone. Source: https://github.com/eclipse-mosquitto/mosquitto/issues/2660.
func (c *control) forget(name string) error {
	_, err := c.ask(
		[]string{userGone, roleGone},
		command{"command": "deleteClient", "username": name},
		command{"command": "deleteRole", "rolename": name},
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
