// Command registry serves the distribution registry as a library, with rights that the registry itself does not have:
// accounts of tenants, each with the repositories of its tenant alone and a limit of bytes.
//
// Accounts are made, locked and deleted on a port of their own, which apps do not reach. The administrator's password
// and the one of the nodes come from the environment, so that no command line has them.
package main

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"flag"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"sync"
	"syscall"
	"time"
)

// Connections at a time: of all clients, and of one. A node that pulls has a few for each image.
const allConnections, clientConnections = 256, 64

func main() {
	log.SetFlags(0)
	listen := flag.String("listen", ":5000", "address for pulls and pushes")
	admin := flag.String("admin", ":5001", "address for the administration of accounts, and for metrics")
	directory := flag.String("data", "/data", "directory of the volume")
	certificate := flag.String("certificate", "", "file with the certificate chain; without it, connections are plain")
	key := flag.String("key", "", "file with the private key")
	flag.Parse()

	password, node := os.Getenv("ADMIN_PASSWORD"), os.Getenv("NODE_PASSWORD")
	if password == "" || node == "" {
		log.Fatal("ADMIN_PASSWORD or NODE_PASSWORD is empty")
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	accounts, err := openAccounts(filepath.Join(*directory, "accounts"))
	if err != nil {
		log.Fatalf("accounts: %v", err)
	}
	door, err := openDoor(ctx, filepath.Join(*directory, "registry"), accounts, password, node)
	if err != nil {
		log.Fatalf("registry: %v", err)
	}
	go door.collectWhenIdle(ctx)
	var settings *tls.Config
	if *certificate != "" {
		loader := &loader{certificate: *certificate, key: *key}
		if _, err := loader.get(nil); err != nil {
			log.Fatalf("certificate: %v", err)
		}
		settings = &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: loader.get}
	}
	var group sync.WaitGroup
	for address, handler := range map[string]http.Handler{*listen: door, *admin: door.administration()} {
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
			// What a layer's upload takes is bounded by its account's limit alone.
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

// uploadKey signs the state of uploads in their addresses. It is the same after a restart, so that they go on.
func uploadKey(password string) string {
	sum := hmac.New(sha256.New, []byte(password))
	sum.Write([]byte("state of uploads"))
	return hex.EncodeToString(sum.Sum(nil))
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
