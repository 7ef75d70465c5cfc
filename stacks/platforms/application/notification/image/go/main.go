// Notification is the program of the capability's image, with a command for each part: `serve` is the server (package
// serve); `account` and `probe` are what Jobs run (package ask).
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"wecity.dev/notification/ask"
	"wecity.dev/notification/serve"
)

var commands = map[string]func(context.Context, []string) error{
	"account": ask.Account,
	"probe":   ask.Probe,
	"serve":   serve.Run,
}

func main() {
	name := ""
	if len(os.Args) > 1 {
		name = os.Args[1]
	}
	command := commands[name]
	if command == nil {
		fmt.Fprintf(os.Stderr, "notification: there is no command %q; there are account, probe and serve\n", name)
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if err := command(ctx, os.Args[2:]); err != nil {
		fmt.Fprintf(os.Stderr, "notification %s: %s\n", name, err)
		os.Exit(1)
	}
}
