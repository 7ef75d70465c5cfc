// Package serve is the NATS server as a library, with an account for each app: what it has, which limits hold for it, how
// it is locked, deleted, copied and restored. Accounts are administrated on a port of their own.
package serve

import (
	"context"
	"crypto/tls"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"os"
	"sync"
	"time"
)

// Run serves until the context ends. The administrator's password is in ADMIN_PASSWORD.
func Run(ctx context.Context, arguments []string) error {
	flags := flag.NewFlagSet("serve", flag.ExitOnError)
	listen := flags.String("listen", ":4222", "`address` for clients")
	admin := flags.String("admin", ":4223", "`address` for the administration of accounts, and for metrics")
	data := flags.String("data", "/data", "`directory` of the volume")
	connections := flags.Int64("connections", 1024, "connections of all clients at a time")
	storage := flags.Int64("storage", 8<<30, "`bytes` that the limits of all accounts together may have on the volume")
	memory := flags.Int64("memory", 64<<20, "`bytes` that they may have in memory")
	subjects := flags.Int64("subjects", 50_000, "subjects that the streams of an account may have")
	certificate := flags.String("certificate", "", "`file` with the certificate chain; without it, connections are plain")
	key := flags.String("key", "", "`file` with the private key")
	version := flags.Bool("version", false, "print the version of NATS and end")
	if err := flags.Parse(arguments); err != nil {
		return err
	}
	if *version {
		fmt.Println(Version)
		return nil
	}
	password := os.Getenv("ADMIN_PASSWORD")
	if password == "" {
		return errors.New("ADMIN_PASSWORD is empty")
	}
	if err := checkVersion(*data, Version); err != nil {
		return err
	}
	known, err := openAccounts(place(*data), *storage, *memory)
	if err != nil {
		return err
	}
	settings := config{listen: *listen, data: *data, connections: *connections, subjects: *subjects}
	if *certificate != "" {
		loader := &loader{certificate: *certificate, key: *key}
		if _, err := loader.get(nil); err != nil {
			return fmt.Errorf("certificate: %w", err)
		}
		settings.settings = &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: loader.get}
	}
	broker, err := openBroker(settings, known, password)
	if err != nil {
		return err
	}
	go broker.watch(ctx, 2*time.Second)
	door := &http.Server{
		Addr:              *admin,
		Handler:           broker.door(password),
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    32 << 10,
		TLSConfig:         settings.settings,
	}
	ended := make(chan error, 2)
	go func() {
		if settings.settings == nil {
			ended <- door.ListenAndServe()
		} else {
			ended <- door.ListenAndServeTLS("", "")
		}
	}()
	go func() {
		broker.server.WaitForShutdown()
		ended <- errors.New("the server has ended")
	}()
	select {
	case <-ctx.Done():
		_ = door.Close()
		broker.close()
		return nil
	case err := <-ended:
		broker.close()
		return err
	}
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
