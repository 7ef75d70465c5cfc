// Package serve is a queue of notifications and what sends them: apps bring templates and messages, which are in a database
// until they are sent by mail, SMS or a webhook of the city's.
package serve

import (
	"context"
	"crypto/tls"
	"errors"
	"flag"
	"fmt"
	"log"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

const (
	// Connections at a time: of all clients, and of one.
	allConnections, clientConnections = 512, 64
	// Connections of the role that are left free, for the time in which pods follow one another.
	spare = 2
)

// Run serves until the context ends. The administrator's password is in ADMIN_PASSWORD.
func Run(ctx context.Context, arguments []string) error {
	log.SetFlags(0)
	flags := flag.NewFlagSet("serve", flag.ExitOnError)
	listen := flags.String("listen", ":8443", "`address` for apps")
	admin := flags.String("admin", ":8444", "`address` for the administration of accounts, and for metrics")
	database := flags.String("database", "", "`directory` with the binding of the database")
	connections := flags.Int("connections", 20, "connections that the role of the database may have")
	file := flags.String("channels", "/etc/notification/channels.json", "`file` with the city's channels")
	pause := flags.Duration("pause", 10*time.Second, "the pause after the first try of a message, which grows")
	patience := flags.Duration("patience", 24*time.Hour, "how long a message is tried")
	certificate := flags.String("certificate", "", "`file` with the certificate chain; without it, connections are plain")
	key := flags.String("key", "", "`file` with the private key")
	if err := flags.Parse(arguments); err != nil {
		return err
	}
	password := os.Getenv("ADMIN_PASSWORD")
	if password == "" {
		return errors.New("ADMIN_PASSWORD is empty")
	}
	channels, shown, err := openChannels(*file)
	if err != nil {
		return fmt.Errorf("channels: %w", err)
	}
	uri, err := bound(*database)
	if err != nil {
		return err
	}
	// What sends has connections of its own: no app keeps what was sent from being written down.
	half := int32(max(*connections-spare, 8)) / 2
	known, err := openStore(ctx, uri, half)
	if err != nil {
		return fmt.Errorf("database: %w", err)
	}
	defer known.pool.Close()
	sendersOwn, err := openStore(ctx, uri, half)
	if err != nil {
		return fmt.Errorf("database: %w", err)
	}
	defer sendersOwn.pool.Close()
	if err := known.prepare(ctx); err != nil {
		return fmt.Errorf("database: %w", err)
	}
	if err := known.putProber(ctx, password); err != nil {
		return fmt.Errorf("database: %w", err)
	}
	counters := newCounters()
	sending := newSender(sendersOwn, channels, counters, *pause, *patience)
	door := &door{store: known, sender: sending, counters: counters, shown: shown, admin: digest(password), turns: newTurns()}
	var settings *tls.Config
	if *certificate != "" {
		loader := &loader{certificate: *certificate, key: *key}
		if _, err := loader.get(nil); err != nil {
			return fmt.Errorf("certificate: %w", err)
		}
		settings = &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: loader.get}
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	var group sync.WaitGroup
	group.Go(func() { sending.run(ctx) })
	group.Go(func() { forget(ctx, sendersOwn) })
	ended := make(chan error, 2)
	for address, handler := range map[string]http.Handler{*listen: door.public(), *admin: door.administration()} {
		listener, err := net.Listen("tcp", address)
		if err != nil {
			return err
		}
		listener = &gate{Listener: listener, all: allConnections, each: clientConnections}
		server := &http.Server{
			Handler: handler, TLSConfig: settings, MaxHeaderBytes: 32 << 10, ReadHeaderTimeout: 10 * time.Second,
			ReadTimeout: 30 * time.Second, WriteTimeout: time.Minute, IdleTimeout: 2 * time.Minute,
		}
		group.Add(2)
		go func() {
			defer group.Done()
			run := func() error { return server.Serve(listener) }
			if settings != nil {
				run = func() error { return server.ServeTLS(listener, "", "") }
			}
			if err := run(); err != http.ErrServerClosed {
				ended <- fmt.Errorf("%s: %w", address, err)
				stop()
			}
		}()
		go func() {
			defer group.Done()
			<-ctx.Done()
			ending, cancel := context.WithTimeout(context.Background(), 15*time.Second)
			defer cancel()
			_ = server.Shutdown(ending)
		}()
	}
	group.Wait()
	select {
	case err := <-ended:
		return err
	default:
		return nil
	}
}

// bound returns the URI of a binding's database.
func bound(directory string) (uri string, err error) {
	entry := func(called string) string {
		text, found := os.ReadFile(filepath.Join(directory, called))
		if found != nil && err == nil {
			err = fmt.Errorf("binding: %w", found)
		}
		return strings.TrimSpace(string(text))
	}
	role := entry("username")
	found := url.URL{
		Scheme: "postgres", User: url.UserPassword(role, entry("password")),
		Host: net.JoinHostPort(entry("host"), entry("port")), Path: "/" + entry("database"), RawQuery: "sslmode=disable",
	}
	authority := filepath.Join(directory, "ca.crt")
	if _, is := os.Stat(authority); is == nil {
		found.RawQuery = url.Values{"sslmode": {"verify-full"}, "sslrootcert": {authority}}.Encode()
	}
	return found.String(), err
}

// forget deletes what is kept no longer, now and again.
func forget(ctx context.Context, known *store) {
	for {
		count, err := known.forget(ctx)
		if err != nil && ctx.Err() == nil {
			log.Printf("messages that are kept no longer: %.500q", err.Error())
		}
		if count == 0 && !rest(ctx, time.Minute) || ctx.Err() != nil {
			return
		}
	}
}
