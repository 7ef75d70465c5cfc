// Package serve is a catalogue of data assets, and an API over tables of which each consumer has the columns and rows that
// the owner grants it. The catalogue and the accounts are in one database; tables are read as another role.
package serve

import (
	"context"
	"crypto/sha256"
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
	// Connections of a role that are left free, for the time in which pods follow one another.
	spare = 2
)

// Run serves until the context ends. The administrator's password is in ADMIN_PASSWORD; the key of cursors and hashes,
// which does not change with it, in MASKING_KEY.
func Run(ctx context.Context, arguments []string) error {
	log.SetFlags(0)
	flags := flag.NewFlagSet("serve", flag.ExitOnError)
	listen := flags.String("listen", ":8443", "`address` for apps")
	admin := flags.String("admin", ":8444", "`address` for the administration of accounts, and for metrics")
	own := flags.String("catalogue", "", "`directory` with the binding of the catalogue's database")
	reading := flags.String("reader", "", "`directory` with the binding of the role that reads tables")
	ownConnections := flags.Int("catalogue-connections", 20, "connections that the first role may have")
	connections := flags.Int("reader-connections", 20, "connections that the second role may have")
	certificate := flags.String("certificate", "", "`file` with the certificate chain; without it, connections are plain")
	key := flags.String("key", "", "`file` with the private key")
	if err := flags.Parse(arguments); err != nil {
		return err
	}
	password, masking := os.Getenv("ADMIN_PASSWORD"), os.Getenv("MASKING_KEY")
	if password == "" || masking == "" {
		return errors.New("ADMIN_PASSWORD or MASKING_KEY is empty")
	}
	door, err := openDoor(ctx, *own, *reading, max(*ownConnections-spare, 2), max(*connections-spare, 1), masking)
	if err != nil {
		return err
	}
	defer door.catalogue.pool.Close()
	door.admin, door.probe = digest(password), digest(ProbePassword(password))
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
	go every(ctx, time.Minute, func() {
		if err := door.catalogue.forget(ctx); err != nil && ctx.Err() == nil {
			log.Printf("calls that are kept no longer: %v", err)
		}
	})
	go every(ctx, idleTime, func() { door.reader.sweep(ctx) })
	var group sync.WaitGroup
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

// openDoor opens the catalogue in the database of the first binding, and reads tables as the role of the second.
func openDoor(ctx context.Context, own, reading string, ownConnections, connections int, masking string) (*door, error) {
	uri, _, err := bound(own)
	if err != nil {
		return nil, err
	}
	known, err := openCatalogue(ctx, uri, int32(ownConnections))
	if err != nil {
		return nil, fmt.Errorf("catalogue: %w", err)
	}
	uri, role, err := bound(reading)
	if err != nil {
		return nil, err
	}
	reader, err := newReader(uri, connections)
	if err != nil {
		return nil, fmt.Errorf("reader: %w", err)
	}
	if err := reader.prepare(ctx); err != nil {
		return nil, fmt.Errorf("reader: %w", err)
	}
	cursors, err := newCursors(masking)
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256([]byte("masks:" + masking))
	return &door{
		catalogue: known, reader: reader, cursors: cursors, counters: newCounters(), role: role, masking: sum[:],
		limits: newLimits(max(connections/2, 1)),
	}, nil
}

// bound returns the URI of a binding's database, and its role.
func bound(directory string) (uri, role string, err error) {
	entry := func(called string) string {
		text, found := os.ReadFile(filepath.Join(directory, called))
		if found != nil && err == nil {
			err = fmt.Errorf("binding: %w", found)
		}
		return strings.TrimSpace(string(text))
	}
	role = entry("username")
	found := url.URL{
		Scheme: "postgres", User: url.UserPassword(role, entry("password")),
		Host: net.JoinHostPort(entry("host"), entry("port")), Path: "/" + entry("database"), RawQuery: "sslmode=disable",
	}
	authority := filepath.Join(directory, "ca.crt")
	if _, is := os.Stat(authority); is == nil {
		found.RawQuery = url.Values{"sslmode": {"verify-full"}, "sslrootcert": {authority}}.Encode()
	}
	return found.String(), role, err
}

// every does something now and again, until the context ends.
func every(ctx context.Context, pause time.Duration, do func()) {
	for {
		do()
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
		}
	}
}
