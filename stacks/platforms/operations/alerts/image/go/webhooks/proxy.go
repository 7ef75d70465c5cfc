package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"time"
)

const (
	// What is read of an answer to a plain request, and of all answers through a tunnel, certificates included.
	answerBytes, tunnelBytes = 64 << 10, 256 << 10
	// How long nothing may come through a tunnel; Alertmanager itself waits ten seconds for an answer.
	quiet = 12 * time.Second
	// How long a plain request may take.
	patience = 12 * time.Second
	// Connections and requests at a time.
	atATime = 64
)

// webhook is one that may be reached. Addresses are the ranges in which its name may be found beside those of the
// internet. A host that is an address is in the city's files as such. MayBeOwn: it may be in the city's own clusters.
type webhook struct {
	Scheme    string         `json:"scheme"`
	Host      string         `json:"host"`
	Port      int            `json:"port"`
	Addresses []netip.Prefix `json:"addresses"`
	MayBeOwn  bool           `json:"may_be_own"`
}

type proxy struct {
	webhooks map[string][]webhook
	own      []netip.Prefix
	lookup   func(ctx context.Context, network, host string) ([]netip.Addr, error)
	dial     func(ctx context.Context, network, address string) (net.Conn, error)
	running  chan struct{}
	quiet    time.Duration
}

func newProxy(
	known []webhook,
	own []netip.Prefix,
	lookup func(context.Context, string, string) ([]netip.Addr, error),
	dial func(context.Context, string, string) (net.Conn, error),
) *proxy {
	made := &proxy{
		webhooks: map[string][]webhook{}, own: own, lookup: lookup, dial: dial, running: make(chan struct{}, atATime),
		quiet: quiet,
	}
	for _, item := range known {
		key := keyOf(item.Scheme, item.Host, strconv.Itoa(item.Port))
		made.webhooks[key] = append(made.webhooks[key], item)
	}
	return made
}

func keyOf(scheme, host, port string) string {
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[scheme]
	}
	return scheme + " " + strings.ToLower(net.JoinHostPort(host, port))
}

func (p *proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodConnect && !r.URL.IsAbs() {
		// Asked itself: it is there.
		w.WriteHeader(http.StatusNoContent)
		return
	}
	key := keyOf(r.URL.Scheme, r.URL.Hostname(), r.URL.Port())
	if r.Method == http.MethodConnect {
		host, port, err := net.SplitHostPort(r.Host)
		if err != nil {
			http.Error(w, "a host and a port are needed", http.StatusBadRequest)
			return
		}
		key = keyOf("https", host, port)
	}
	// Several say where the same host may be found: each for itself.
	targets := p.webhooks[key]
	if len(targets) == 0 {
		http.Error(w, "this is no webhook of the city", http.StatusForbidden)
		return
	}
	select {
	case p.running <- struct{}{}:
		defer func() { <-p.running }()
	default:
		http.Error(w, "too many at a time", http.StatusServiceUnavailable)
		return
	}
	if r.Method == http.MethodConnect {
		p.tunnel(w, r, targets)
	} else {
		p.forward(w, r, targets)
	}
}

var errRefused = errors.New("no address of the webhook may be reached")

// connect asks for a name once and connects to one of the addresses that it got.
func (p *proxy) connect(ctx context.Context, targets []webhook) (net.Conn, error) {
	target, addresses, literal := targets[0], []netip.Addr(nil), []netip.Prefix(nil)
	if address, err := netip.ParseAddr(target.Host); err == nil {
		addresses, literal = []netip.Addr{address}, []netip.Prefix{netip.PrefixFrom(address, address.BitLen())}
	} else {
		// With the dot it is not looked for below the cluster's own domains.
		if addresses, err = p.lookup(ctx, "ip", strings.TrimSuffix(target.Host, ".")+"."); err != nil {
			return nil, err
		}
	}
	failure := errRefused
	for _, address := range addresses {
		address = address.Unmap()
		if why := p.refusal(address, targets, literal); why != "" {
			failure = fmt.Errorf("%w: %s is %s", errRefused, address, why)
			continue
		}
		made, err := p.dial(ctx, "tcp", netip.AddrPortFrom(address, uint16(target.Port)).String())
		if err == nil {
			return made, nil
		}
		failure = err
	}
	return nil, failure
}

// refusal is that of the first of the webhooks if each of them is refused the address.
func (p *proxy) refusal(address netip.Addr, targets []webhook, literal []netip.Prefix) string {
	first := ""
	for _, item := range targets {
		given, own := literal, p.own
		if given == nil {
			given = item.Addresses
		}
		if item.MayBeOwn {
			own = nil
		}
		why := refusal(address, given, own)
		if why == "" {
			return ""
		}
		if first == "" {
			first = why
		}
	}
	return first
}

func (p *proxy) fail(w http.ResponseWriter, target webhook, err error) {
	log.Printf("webhook %s: %v", net.JoinHostPort(target.Host, strconv.Itoa(target.Port)), err)
	status := http.StatusBadGateway
	if errors.Is(err, errRefused) {
		status = http.StatusForbidden
	}
	http.Error(w, err.Error(), status)
}

// tunnel passes bytes on in both directions. What comes back is bounded, since Alertmanager reads it all.
func (p *proxy) tunnel(w http.ResponseWriter, r *http.Request, targets []webhook) {
	ctx, cancel := context.WithTimeout(r.Context(), patience)
	defer cancel()
	out, err := p.connect(ctx, targets)
	if err != nil {
		p.fail(w, targets[0], err)
		return
	}
	defer out.Close()
	in, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	defer in.Close()
	if _, err := io.WriteString(in, "HTTP/1.1 200 Connection established\r\n\r\n"); err != nil {
		return
	}
	// It ends when nothing was passed on for a while.
	prolong := func() {
		until := time.Now().Add(p.quiet)
		_, _ = in.SetDeadline(until), out.SetDeadline(until)
	}
	prolong()
	ended := make(chan struct{}, 2)
	pass := func(to io.Writer, from io.Reader) {
		_, _ = io.Copy(lively{to, prolong}, from)
		ended <- struct{}{}
	}
	go pass(out, buffered)
	go pass(in, io.LimitReader(out, tunnelBytes))
	<-ended
}

type lively struct {
	io.Writer
	prolong func()
}

func (l lively) Write(data []byte) (int, error) {
	l.prolong()
	return l.Writer.Write(data)
}

// forward makes the request anew, over a connection of its own, and answers with the beginning of the answer.
func (p *proxy) forward(w http.ResponseWriter, r *http.Request, targets []webhook) {
	ctx, cancel := context.WithTimeout(r.Context(), patience)
	defer cancel()
	transport := &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return p.connect(ctx, targets) },
		// The answer is passed on as it is.
		DisableCompression:     true,
		DisableKeepAlives:      true,
		MaxResponseHeaderBytes: answerBytes,
	}
	made := r.Clone(ctx)
	made.RequestURI = ""
	for _, name := range []string{"Proxy-Connection", "Proxy-Authorization", "Connection", "Keep-Alive", "Te", "Upgrade"} {
		made.Header.Del(name)
	}
	answer, err := transport.RoundTrip(made)
	if err != nil {
		p.fail(w, targets[0], err)
		return
	}
	defer answer.Body.Close()
	for _, name := range []string{"Content-Type", "Retry-After"} {
		if value := answer.Header.Get(name); value != "" {
			w.Header().Set(name, value)
		}
	}
	w.WriteHeader(answer.StatusCode)
	_, _ = io.Copy(w, io.LimitReader(answer.Body, answerBytes))
}
