// Command iot is what stands before an MQTT server that many apps share, and what its administrator does with it.
package main

import (
	"errors"
	"fmt"
	"log"
	"net"
	"os"
)

// The code with which `restore` ends for an account that has data (`stacks.platforms.backup_scripts.OCCUPIED`).
const occupied = 3

// Seconds that a command waits for the server.
const connectTries = 60

func main() {
	log.SetFlags(0)
	err := run(os.Args[1:])
	if err == nil {
		return
	}
	fmt.Fprintln(os.Stderr, "iot:", err)
	if errors.Is(err, errOccupied) {
		os.Exit(occupied)
	}
	os.Exit(1)
}

func run(words []string) error {
	if len(words) == 0 {
		return errors.New("say what to do: front, prepare, alive, provision, lock, delete, inventory, dump, restore or probe")
	}
	commands := map[string]func(*control) error{
		"provision": provision,
		"lock":      func(c *control) error { _, err := lock(c); return err },
		"delete":    remove,
		"inventory": inventory,
		"dump":      dump,
		"restore":   func(c *control) error { return restore(c, os.Stdin) },
		"probe":     probe,
	}
	switch words[0] {
	case "front":
		return runFront(words[1:])
	case "prepare":
		return prepare(words[1:])
	case "alive":
		return alive(words[len(words)-1])
	}
	does := commands[words[0]]
	if does == nil {
		return fmt.Errorf("there is no command %q", words[0])
	}
	host, port, err := net.SplitHostPort(words[len(words)-1])
	if err != nil {
		return fmt.Errorf("say the server's host and port after %s: %w", words[0], err)
	}
	where := address{host, port, os.Getenv("AUTHORITY")}
	c, err := connect(where, os.Getenv("ADMIN_PASSWORD"), connectTries, nil)
	if err != nil {
		return fmt.Errorf("%s:%s: %w", host, port, err)
	}
	defer c.close()
	return does(c)
}
