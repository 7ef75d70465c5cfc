package main

import (
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha512"
	"encoding/base64"
	"encoding/json"
	"errors"
	"flag"
	"io/fs"
	"os"
	"slices"
)

// What the plug-in derives a password's key with. Source: mosquitto 2.0, plugins/dynamic-security/auth.c.
const (
	passwordRounds = 101
	passwordSalt   = 12
	passwordKey    = 64
)

// prepare writes the administrator, who has the password in ADMIN_PASSWORD, into the plug-in's file, whose other users it
// keeps. Nothing is allowed that no role allows.
func prepare(words []string) error {
	flags := flag.NewFlagSet("prepare", flag.ContinueOnError)
	path := flags.String("users", "", "the file with users and roles")
	if err := flags.Parse(words); err != nil {
		return err
	}
	kept := struct {
		Clients []json.RawMessage `json:"clients"`
		Groups  []json.RawMessage `json:"groups,omitempty"`
		Roles   []json.RawMessage `json:"roles"`
		Default map[string]bool   `json:"defaultACLAccess"`
	}{}
	text, err := os.ReadFile(*path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err == nil {
		if err := json.Unmarshal(text, &kept); err != nil {
			return err
		}
	}
	salt := make([]byte, passwordSalt)
	_, _ = rand.Read(salt)
	key, err := pbkdf2.Key(sha512.New, os.Getenv("ADMIN_PASSWORD"), salt, passwordRounds, passwordKey)
	if err != nil {
		return err
	}
	if kept.Clients, err = replaced(kept.Clients, "username", map[string]any{
		"username":   administrator,
		"password":   base64.StdEncoding.EncodeToString(key),
		"salt":       base64.StdEncoding.EncodeToString(salt),
		"iterations": passwordRounds,
		"roles":      []map[string]string{{"rolename": administrator}},
	}); err != nil {
		return err
	}
	rights := []right{}
	for _, kind := range []string{"publishClientSend", "publishClientReceive", "subscribePattern"} {
		for _, topic := range []string{"#", "$CONTROL/dynamic-security/#", "$SYS/#"} {
			rights = append(rights, right{kind, topic, 0, true})
		}
	}
	if kept.Roles, err = replaced(kept.Roles, "rolename", map[string]any{
		"rolename": administrator, "acls": rights,
	}); err != nil {
		return err
	}
	kept.Default = map[string]bool{
		"publishClientSend": false, "publishClientReceive": false, "subscribe": false, "unsubscribe": true,
	}
	if text, err = json.Marshal(kept); err != nil {
		return err
	}
	if err := os.WriteFile(*path+".prepared", text, 0o600); err != nil {
		return err
	}
	return os.Rename(*path+".prepared", *path)
}

// replaced is a list with the administrator's entry in the place of the one that it has.
func replaced(list []json.RawMessage, name string, entry map[string]any) ([]json.RawMessage, error) {
	text, err := json.Marshal(entry)
	if err != nil {
		return nil, err
	}
	others := slices.DeleteFunc(list, func(one json.RawMessage) bool {
		var read map[string]any
		return json.Unmarshal(one, &read) == nil && read[name] == administrator
	})
	return append([]json.RawMessage{text}, others...), nil
}
