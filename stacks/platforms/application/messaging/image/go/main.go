// Messaging is the program of the capability's image, with a command for each part: `serve` serves NATS as a library
// behind accounts of apps (package serve); `account`, `dump`, `restore` and `probe` are what Jobs run (package ask).
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"wecity.dev/messaging/ask"
	"wecity.dev/messaging/serve"
)

var commands = map[string]func(context.Context, []string) error{
	"account": ask.Account,
	"dump":    ask.Dump,
	"probe":   ask.Probe,
	"restore": ask.Restore,
	"serve":   serve.Run,
}

func main() {
	name := ""
	if len(os.Args) > 1 {
		name = os.Args[1]
	}
	command := commands[name]
	if command == nil {
		fmt.Fprintf(os.Stderr, "messaging: there is no command %q; there are account, dump, probe, restore and serve\n", name)
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if err := command(ctx, os.Args[2:]); err != nil {
		fmt.Fprintf(os.Stderr, "messaging %s: %s\n", name, err)
		if errors.Is(err, ask.ErrOccupied) {
			os.Exit(ask.Occupied)
		}
		os.Exit(1)
	}
}
