// Command vault-metrics tells what the vault beside it measures, and how full the volume is, to whoever reaches its port.
//
// The server tells its figures on the pod's loopback device alone: where it tells them to everybody, it takes all other
// requests too.
package main

import (
	"crypto/tls"
	"flag"
	"io"
	"log"
	"net/http"
	"os"
	"sync"
	"time"
)

// More than the server has ever told; the observer reads no more of a pod than it must.
const longest = 8 << 20

func main() {
	log.SetFlags(0)
	listen := flag.String("listen", ":8202", "`address` to serve at")
	server := flag.String("server", "http://127.0.0.1:8203", "`URL` of the server's listener for its figures")
	directory := flag.String("data", "/data", "`directory` of the volume")
	certificate := flag.String("certificate", "", "`file` with the certificate chain; without it, connections are plain")
	key := flag.String("key", "", "`file` with the private key")
	flag.Parse()
	served := &http.Server{
		Addr:              *listen,
		Handler:           page(*server, *directory),
		ReadHeaderTimeout: 5 * time.Second,
		IdleTimeout:       time.Minute,
		MaxHeaderBytes:    16 << 10,
	}
	if *certificate == "" {
		log.Fatal(served.ListenAndServe())
	}
	loader := &loader{certificate: *certificate, key: *key}
	served.TLSConfig = &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: loader.get}
	log.Fatal(served.ListenAndServeTLS("", ""))
}

func page(server, directory string) http.Handler {
	client := &http.Client{Timeout: 8 * time.Second}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /metrics", func(w http.ResponseWriter, _ *http.Request) {
		answer, err := client.Get(server + "/v1/sys/metrics?format=prometheus")
		if err == nil {
			defer answer.Body.Close()
		}
		w.Header().Set("Content-Type", "text/plain; version=0.0.4")
		// How full the volume is can be known when the server does not answer, and may say why.
		_, _ = io.WriteString(w, volumeLines(directory))
		if err == nil && answer.StatusCode == http.StatusOK {
			_, _ = io.Copy(w, io.LimitReader(answer.Body, longest))
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
