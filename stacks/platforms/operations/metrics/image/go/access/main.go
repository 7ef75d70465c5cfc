// Command metrics-access stands before a VictoriaMetrics server: who may ask it, and for what.
//
// It is the only one that listens to others; the server listens on the loopback device. The administrator may do
// everything. An account of a tenant reads the series of that tenant; one of a capability reads all series and writes
// its own. Accounts are made, locked and deleted on a port of their own, which apps do not reach. The administrator's
// password and the one of the observer come from the environment, so that no command line has them.
//
// With `dump` or `restore` it is a client of that server instead, which Jobs run (`copying.go`).
package main

import (
	"context"
	"crypto/tls"
	"flag"
	"log"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"
)

// Connections at a time: of all clients, and of one. With TLS each takes some 40 kB of the container's memory.
const allConnections, clientConnections = 192, 64

func main() {
	log.SetFlags(0)
	if len(os.Args) == 2 && (os.Args[1] == "dump" || os.Args[1] == "restore") {
		copied(context.Background(), os.Args[1])
	}
	listen := flag.String("listen", ":8428", "address for queries")
	admin := flag.String("admin", ":8429", "address for the administration of accounts")
	upstream := flag.String("upstream", "http://127.0.0.1:8480", "the server behind")
	directory := flag.String("accounts", "/data/accounts", "directory with a file for each account")
	certificate := flag.String("certificate", "", "file with the certificate chain; without it, connections are plain")
	key := flag.String("key", "", "file with the private key")
	flag.Parse()

	target, err := url.Parse(*upstream)
	if err != nil {
		log.Fatalf("-upstream: %v", err)
	}
	password := os.Getenv("ADMIN_PASSWORD")
	if password == "" {
		log.Fatal("ADMIN_PASSWORD is empty")
	}
	accounts, err := openAccounts(*directory)
	if err != nil {
		log.Fatalf("accounts: %v", err)
	}
	door := &door{accounts: accounts, target: target, admin: digestOf(password), counters: counters{directory: *directory}, breaker: newBreaker("")}
	if observer := os.Getenv("OBSERVER_PASSWORD"); observer != "" {
		door.observer = digestOf(observer)
	}
	var settings *tls.Config
	if *certificate != "" {
		loader := &loader{certificate: *certificate, key: *key}
		if _, err := loader.get(nil); err != nil {
			log.Fatalf("certificate: %v", err)
		}
		settings = &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: loader.get}
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	var group sync.WaitGroup
	for address, handler := range map[string]http.Handler{*listen: door.queries(), *admin: door.administration()} {
		listener, err := net.Listen("tcp", address)
		if err != nil {
			log.Fatal(err)
		}
		listener = &gate{Listener: listener, all: allConnections, each: clientConnections}
		server := &http.Server{
			Handler:           handler,
			TLSConfig:         settings,
			ReadHeaderTimeout: 10 * time.Second,
			IdleTimeout:       2 * time.Minute,
			MaxHeaderBytes:    32 << 10,
		}
		group.Add(2)
		go func() {
			defer group.Done()
			run := func() error { return server.Serve(listener) }
			if settings != nil {
				run = func() error { return server.ServeTLS(listener, "", "") }
			}
			if err := run(); err != http.ErrServerClosed {
				log.Fatalf("%s: %v", address, err)
			}
		}()
		go func() {
			// Serving ends at once, and this when the requests have ended that run.
			defer group.Done()
			<-ctx.Done()
			ending, cancel := context.WithTimeout(context.Background(), 10*time.Second)
			defer cancel()
			_ = server.Shutdown(ending)
		}()
	}
	group.Wait()
}

// loader reads the certificate again when its file has changed, so that a renewed one needs no restart.
type loader struct {
	certificate, key string
	mutex            sync.Mutex
	loaded           *tls.Certificate
	changed          time.Time
}

func (l *loader) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	info, err := os.Stat(l.certificate)
	if err == nil && l.loaded != nil && info.ModTime().Equal(l.changed) {
		return l.loaded, nil
	}
	if err == nil {
		var found tls.Certificate
		if found, err = tls.LoadX509KeyPair(l.certificate, l.key); err == nil {
			l.loaded, l.changed = &found, info.ModTime()
		}
	}
	if l.loaded != nil {
		// The files are replaced one after the other: the old pair serves until both are there.
		return l.loaded, nil
	}
	return nil, err
}
