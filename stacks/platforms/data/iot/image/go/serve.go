package main

import (
	"crypto/tls"
	"errors"
	"flag"
	"log"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"
)

// A certificate's file is looked at again after this time.
const certificatePeriod = 10 * time.Second

// runFront is the command `front`: it serves clients, devices that are added and metrics until it is ended.
func runFront(words []string) error {
	flags := flag.NewFlagSet("front", flag.ContinueOnError)
	listen := flags.String("listen", "", "the address for clients")
	metrics := flags.String("metrics", "", "the address for metrics")
	server := flags.String("server", "", "the server's address, a host and a port")
	users := flags.String("users", "", "the file of the server's plug-in with users and roles")
	sessions := flags.String("sessions", "", "the file in which the front keeps the names of sessions")
	volume := flags.String("volume", "", "a directory of the volume whose size is told")
	connections := flags.Int64("connections", 1000, "the most connections of all accounts")
	retained := flags.Int64("retained", 1<<20, "the most bytes of retained messages of an account")
	certificate := flags.String("certificate", "", "the file with the certificate; without one, connections are plain")
	key := flags.String("key", "", "the file with the certificate's key")
	if err := flags.Parse(words); err != nil {
		return err
	}
	host, port, err := net.SplitHostPort(*server)
	if err != nil {
		return err
	}
	known := newAccounts(*users, *sessions, *connections, *retained)
	if err := errors.Join(known.load(), known.read()); err != nil {
		return err
	}
	listener, err := listenTo(*listen, *certificate, *key)
	if err != nil {
		return err
	}
	telling, err := listenTo(*metrics, *certificate, *key)
	if err != nil {
		return err
	}
	attendant := newAttendant(known, address{host: host, port: port}, os.Getenv("ADMIN_PASSWORD"))
	go attendant.attend()
	go known.follow(attendant.end)
	go func() {
		mux := http.NewServeMux()
		mux.HandleFunc("GET /metrics", func(w http.ResponseWriter, _ *http.Request) {
			var text strings.Builder
			known.write(&text)
			text.WriteString(volumeLines(*volume))
			w.Header().Set("Content-Type", "text/plain; version=0.0.4")
			_, _ = w.Write([]byte(text.String()))
		})
		mux.HandleFunc("GET /ready", func(w http.ResponseWriter, _ *http.Request) {
			if !attendant.ready() {
				http.Error(w, "the server does not let the administrator in", http.StatusServiceUnavailable)
			}
		})
		answers := &http.Server{Handler: mux, ReadTimeout: 10 * time.Second, WriteTimeout: 10 * time.Second}
		log.Fatalf("front: %v", answers.Serve(telling))
	}()
	return (&front{server: *server, accounts: known, pending: make(chan struct{}, connectsAtOnce)}).serve(listener)
}

// listenTo listens at an address, with TLS if there is a certificate.
func listenTo(where, certificate, key string) (net.Listener, error) {
	listener, err := net.Listen("tcp", where)
	if err != nil || certificate == "" {
		return listener, err
	}
	served := &reloaded{certificate: certificate, key: key}
	if _, err := served.get(nil); err != nil {
		return nil, err
	}
	return tls.NewListener(listener, &tls.Config{GetCertificate: served.get, MinVersion: tls.VersionTLS12}), nil
}

// reloaded is a certificate that is read again when its file has changed.
type reloaded struct {
	certificate, key string
	mutex            sync.Mutex
	read             time.Time
	text             string
	loaded           *tls.Certificate
}

func (r *reloaded) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	if r.loaded != nil && time.Since(r.read) < certificatePeriod {
		return r.loaded, nil
	}
	text, err := os.ReadFile(r.certificate)
	if err == nil && string(text) != r.text {
		var found tls.Certificate
		if found, err = tls.LoadX509KeyPair(r.certificate, r.key); err == nil {
			if r.loaded != nil {
				log.Print("front: the server takes over its renewed certificate")
			}
			r.loaded, r.text = &found, string(text)
		}
	}
	if err != nil {
		if r.loaded == nil {
			return nil, err
		}
		// Certificate and key may be of two renewals for a moment.
		log.Printf("front: the certificate is not read again: %v", err)
	}
	r.read = time.Now()
	return r.loaded, nil
}
