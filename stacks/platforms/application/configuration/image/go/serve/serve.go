// Package serve keeps values of apps by key, each app's for itself, and tells changes to requests that wait for them.
// Accounts and values are in one database of PostgreSQL.
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
	// Connections beside those that wait for changes: of probes, of the administrator, and of other requests.
	reserved = 64
	// Connections of the database that are left free, for the time in which pods follow one another.
	spare = 2
)

// Run serves until the context ends. The administrator's password is in ADMIN_PASSWORD.
func Run(ctx context.Context, arguments []string) error {
	log.SetFlags(0)
	flags := flag.NewFlagSet("serve", flag.ExitOnError)
	listen := flags.String("listen", ":8543", "`address` for apps")
	admin := flags.String("admin", ":8544", "`address` for the administration of accounts, and for metrics")
	binding := flags.String("database", "", "`directory` with the binding of the database")
	sessions := flags.Int("database-connections", 10, "connections of the database that there may be")
	storage := flags.Int64("storage", 1<<28, "bytes that the limits of all accounts come to at the most")
	connections := flags.Int("connections", 400, "requests of all accounts that wait at a time")
	certificate := flags.String("certificate", "", "`file` with the certificate chain; without it, connections are plain")
	key := flags.String("key", "", "`file` with the private key")
	if err := flags.Parse(arguments); err != nil {
		return err
	}
	password := os.Getenv("ADMIN_PASSWORD")
	if password == "" {
		return errors.New("ADMIN_PASSWORD is empty")
	}
	uri, err := bound(*binding)
	if err != nil {
		return err
	}
	known, err := openStore(ctx, uri, int32(max(*sessions-spare, 2)), *storage, password)
	if err != nil {
		return fmt.Errorf("database: %w", err)
	}
	defer known.pool.Close()
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
	door := &door{store: known, limits: newLimits(), admin: digest(password), ending: ctx.Done()}
	var group sync.WaitGroup
	ended := make(chan error, 2)
	for address, handler := range map[string]http.Handler{*listen: door.public(), *admin: door.administration()} {
		listener, err := net.Listen("tcp", address)
		if err != nil {
			return err
		}
		all := *connections + reserved
		listener = &gate{Listener: listener, all: all, each: max(all/4, reserved)}
		server := &http.Server{
			Handler: handler, TLSConfig: settings, MaxHeaderBytes: 32 << 10, ReadHeaderTimeout: 10 * time.Second,
			// A connection has one request at a time, without HTTP/2, so that the gate bounds requests.
			TLSNextProto: map[string]func(*http.Server, *tls.Conn, http.Handler){},
			// A request that waits for a change is read, as far as the server is concerned, until it is answered.
			ReadTimeout: (waitMost + 20) * time.Second, WriteTimeout: (waitMost + 20) * time.Second, IdleTimeout: 2 * time.Minute,
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
	found := url.URL{
		Scheme: "postgres", User: url.UserPassword(entry("username"), entry("password")),
		Host: net.JoinHostPort(entry("host"), entry("port")), Path: "/" + entry("database"), RawQuery: "sslmode=disable",
	}
	authority := filepath.Join(directory, "ca.crt")
	if _, is := os.Stat(authority); is == nil {
		found.RawQuery = url.Values{"sslmode": {"verify-full"}, "sslrootcert": {authority}}.Encode()
	}
	return found.String(), err
}
