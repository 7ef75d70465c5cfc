package main

import (
	"crypto/tls"
	"flag"
	"log"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"
)

// How long a certificate is served before its file is looked at again.
const certificatePeriod = 10 * time.Second

// runFront is the command `front`: it serves clients, devices' registrations and metrics until it is ended.
func runFront(flags *flag.FlagSet, words []string) error {
	listen := flags.String("listen", "", "the address for clients")
	metrics := flags.String("metrics", "", "the address for metrics")
	server := flags.String("server", "", "the server's address")
	path := flags.String("users", "", "the plug-in's file with users and roles")
	certificate := flags.String("certificate", "", "the file with the certificate; without one, connections are plain")
	key := flags.String("key", "", "the file with the certificate's key")
	if err := flags.Parse(words); err != nil {
		return err
	}
	listener, err := net.Listen("tcp", *listen)
	if err != nil {
		return err
	}
	if *certificate != "" {
		served := &reloaded{certificate: *certificate, key: *key}
		if _, err := served.get(nil); err != nil {
			return err
		}
		listener = tls.NewListener(listener, &tls.Config{GetCertificate: served.get, MinVersion: tls.VersionTLS12})
	}
	known := &accounts{path: *path, known: map[string]*account{}, sessions: map[string]map[string]time.Time{}}
	go known.follow()
	host, port, err := net.SplitHostPort(*server)
	if err != nil {
		return err
	}
	go register(known, address{host: host, port: port}, os.Getenv("ADMIN_PASSWORD"))
	mux := http.NewServeMux()
	mux.HandleFunc("GET /metrics", known.tell)
	go func() {
		answers := &http.Server{Addr: *metrics, Handler: mux, ReadTimeout: 10 * time.Second, WriteTimeout: 10 * time.Second}
		log.Fatalf("front: %v", answers.ListenAndServe())
	}()
	return (&front{server: *server, accounts: known, pending: make(chan struct{}, connectsAtOnce)}).serve(listener)
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
	if time.Since(r.read) < certificatePeriod {
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
		log.Printf("front: the certificate is not read again: %v", err)
	}
	r.read = time.Now()
	return r.loaded, nil
}

// tell writes metrics in the text format. Names of accounts have no character that would have to be escaped.
func (a *accounts) tell(w http.ResponseWriter, _ *http.Request) {
	var text strings.Builder
	a.write(&text)
	w.Header().Set("Content-Type", "text/plain; version=0.0.4")
	_, _ = w.Write([]byte(text.String()))
}
