package main

import (
	"net/url"
	"os"
	"path/filepath"
	"strings"
)

// bound is the binding of the database.
type bound struct{ host, port, database, user, password, authority string }

func readBinding(directory string) (bound, error) {
	var made bound
	for name, into := range map[string]*string{
		"host": &made.host, "port": &made.port, "database": &made.database, "username": &made.user, "password": &made.password,
	} {
		text, err := os.ReadFile(filepath.Join(directory, name))
		if err != nil {
			return made, err
		}
		*into = strings.TrimSpace(string(text))
	}
	if file := filepath.Join(directory, "ca.crt"); exists(file) {
		made.authority = file
	}
	return made, nil
}

func exists(file string) bool { _, err := os.Stat(file); return err == nil }

func (b bound) query() string {
	if b.authority == "" {
		return "?sslmode=disable"
	}
	return "?" + url.Values{"sslmode": {"verify-full"}, "sslrootcert": {b.authority}}.Encode()
}

// address is the database's as this program takes it, java as the engine does.
func (b bound) address() string {
	made := url.URL{Scheme: "postgres", User: url.UserPassword(b.user, b.password), Host: b.host + ":" + b.port, Path: b.database}
	return made.String() + b.query()
}

func (b bound) java() string {
	return "jdbc:postgresql://" + b.host + ":" + b.port + "/" + b.database + b.query()
}
