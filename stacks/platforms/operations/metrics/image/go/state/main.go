// Command metrics-state serves the state of a city's objects as metrics: replicas, restarts, jobs, quotas, nodes, and
// what containers use; and at a path of its own what bills are made from (`usage.go`).
//
// It watches the namespaces that it is given, as its service account. Whose an object is follows from its namespace.
// The series have the names of kube-state-metrics where that has them, and only those that rules and dashboards read.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"log"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"
)

func main() {
	log.SetFlags(0)
	listen := flag.String("listen", "127.0.0.1:8481", "address that serves /metrics")
	file := flag.String("namespaces", "", "file with the labels of each namespace, as JSON")
	account := flag.String("account", "/var/run/secrets/kubernetes.io/serviceaccount", "directory of the service account")
	flag.Parse()
	text, err := os.ReadFile(*file)
	if err != nil {
		log.Fatal(err)
	}
	owners := map[string]map[string]string{}
	if err := json.Unmarshal(text, &owners); err != nil {
		log.Fatalf("%s: %v", *file, err)
	}
	server, err := inCluster(*account)
	if err != nil {
		log.Fatal(err)
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	known := newStore()
	for namespace := range owners {
		for _, kind := range namespaced {
			go server.follow(ctx, known, kind, namespace)
		}
		go server.poll(ctx, known, namespace)
	}
	go server.follow(ctx, known, nodes, "")
	mux := http.NewServeMux()
	for path, text := range map[string]func(*store, map[string]map[string]string) []byte{
		"/metrics": render, "/usage": renderUsage,
	} {
		mux.HandleFunc("GET "+path, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "text/plain; version=0.0.4")
			_, _ = w.Write(text(known, owners))
		})
	}
	web := &http.Server{Addr: *listen, Handler: mux, ReadHeaderTimeout: 5 * time.Second}
	go func() {
		<-ctx.Done()
		_ = web.Close()
	}()
	if err := web.ListenAndServe(); err != http.ErrServerClosed {
		log.Fatal(err)
	}
}
