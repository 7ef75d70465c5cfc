// Command alerts-webhooks is the way from Alertmanager to webhooks: a forward proxy on the pod's loopback device.
//
// Alertmanager itself reads an answer to its end however long it is, and asks for a name's addresses each time, which
// whoever owns the name may lead inside the cluster. Here a connection goes to a webhook of the city's files alone, to
// an address that was looked at after the name was asked for, and ends after so many bytes.
//
// On a port of its own it tells what Alertmanager counts of its messages, which listens on the loopback device alone.
// Beside that it looks whether vmalert evaluates the rules, and has Alertmanager tell when it does not.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"log"
	"net"
	"net/http"
	"os"
	"strings"
	"time"
)

func main() {
	log.SetFlags(0)
	listen := flag.String("listen", "127.0.0.1:9094", "`address` to serve at")
	file := flag.String("webhooks", "/etc/alerts/webhooks.json", "`file` with the webhooks that may be reached")
	figures := flag.String("figures", "", "`address` to tell at what Alertmanager counts; empty: nowhere")
	certificate := flag.String("certificate", "", "`file` with the certificate chain; without it, figures are told in plain")
	key := flag.String("key", "", "`file` with the private key")
	manager := flag.String("manager", "http://127.0.0.1:9093", "`URL` of Alertmanager")
	evaluator := flag.String("evaluator", "", "`URL` of vmalert; without it nobody looks whether rules are evaluated")
	password := flag.String("password", "/etc/admin/password", "`file` with the password of vmalert's administrator")
	own := flag.String("own", "", "`ranges` of the city's clusters, with commas between, where no tenant's webhook may be")
	flag.Parse()
	text, err := os.ReadFile(*file)
	if err != nil {
		log.Fatal(err)
	}
	var known []webhook
	if err := json.Unmarshal(text, &known); err != nil {
		log.Fatalf("%s: %v", *file, err)
	}
	surroundings := []string{os.Getenv("NODE_ADDRESSES"), os.Getenv("POD_ADDRESSES"), os.Getenv("KUBERNETES_SERVICE_HOST")}
	refused, err := ownNetworks(*own, strings.Join(surroundings, ","))
	if err != nil {
		log.Fatalf("-own: %v", err)
	}
	if *figures != "" {
		go func() { log.Fatal(serveFigures(*figures, *manager, *certificate, *key)) }()
	}
	dialer := &net.Dialer{Timeout: 5 * time.Second}
	server := &http.Server{
		Addr:              *listen,
		Handler:           newProxy(known, refused, net.DefaultResolver.LookupNetIP, dialer.DialContext),
		ReadHeaderTimeout: 5 * time.Second,
		MaxHeaderBytes:    16 << 10,
		IdleTimeout:       time.Minute,
	}
	if *evaluator != "" {
		go newWatch(*evaluator, *manager, *password).run(context.Background())
	}
	log.Fatal(server.ListenAndServe())
}
