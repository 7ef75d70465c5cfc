package main

import (
	"bufio"
	"crypto/tls"
	"io"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"
)

const (
	// What is told of all that Alertmanager measures: its messages, those that were not taken, and why.
	toldFigures = "alertmanager_notifications_"
	// More than it has ever told.
	longestFigures = 4 << 20
)

// serveFigures tells at an address what an Alertmanager counts of its messages, to whoever asks.
func serveFigures(address, manager, certificate, key string) error {
	server := &http.Server{
		Addr:              address,
		Handler:           figuresPage(manager),
		ReadHeaderTimeout: 5 * time.Second,
		MaxHeaderBytes:    16 << 10,
		IdleTimeout:       time.Minute,
	}
	if certificate == "" {
		return server.ListenAndServe()
	}
	loader := &loader{certificate: certificate, key: key}
	server.TLSConfig = &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: loader.get}
	return server.ListenAndServeTLS("", "")
}

func figuresPage(manager string) http.Handler {
	client := &http.Client{Timeout: 8 * time.Second}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /metrics", func(w http.ResponseWriter, _ *http.Request) {
		answer, err := client.Get(manager + "/metrics")
		if err != nil {
			http.Error(w, "Alertmanager does not answer", http.StatusBadGateway)
			return
		}
		defer answer.Body.Close()
		if answer.StatusCode != http.StatusOK {
			http.Error(w, "Alertmanager answers with "+answer.Status, http.StatusBadGateway)
			return
		}
		w.Header().Set("Content-Type", "text/plain; version=0.0.4")
		lines := bufio.NewScanner(io.LimitReader(answer.Body, longestFigures))
		for lines.Scan() {
			if text := lines.Text(); strings.HasPrefix(strings.TrimPrefix(text, "# TYPE "), toldFigures) {
				_, _ = io.WriteString(w, text+"\n")
			}
		}
	})
	return mux
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
