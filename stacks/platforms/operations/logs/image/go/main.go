// Logs is the program of the capability's image, with a command for each part: `store` serves VictoriaLogs as a library
// behind the checks of the package store, `ship` sends the logs of a node's pods to it (package ship), and `account`,
// `dump`, `restore`, `probe` and `ready` are what Jobs and the kubelet run (packages ask and ship).
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"wecity.dev/logs/ask"
	"wecity.dev/logs/ship"
	"wecity.dev/logs/store"
)

var commands = map[string]func(context.Context, []string) error{
	"account": ask.Account,
	"dump":    ask.Dump,
	"probe":   ask.Probe,
	"ready":   ship.Ready,
	"restore": ask.Restore,
	"ship":    ship.Run,
	"store":   store.Run,
}

func main() {
	name := ""
	if len(os.Args) > 1 {
		name = os.Args[1]
	}
	command := commands[name]
	if command == nil {
		fmt.Fprintf(os.Stderr, "logs: there is no command %q; there are account, dump, probe, ready, restore, ship and store\n", name)
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if err := command(ctx, os.Args[2:]); err != nil {
		fmt.Fprintf(os.Stderr, "logs %s: %s\n", name, err)
		if errors.Is(err, ask.ErrOccupied) {
			// `OCCUPIED` of the scripts of backups.
			os.Exit(3)
		}
		os.Exit(1)
	}
}
