package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// internet has the addresses of names, and notes who asked for what. Every address leads to the same server.
type internet struct {
	mutex  sync.Mutex
	names  map[string][]string
	asked  []string
	dialed []string
	server string
}

func (i *internet) lookup(_ context.Context, _, host string) ([]netip.Addr, error) {
	i.mutex.Lock()
	defer i.mutex.Unlock()
	i.asked = append(i.asked, host)
	var found []netip.Addr
	for _, text := range i.names[strings.TrimSuffix(host, ".")] {
		found = append(found, netip.MustParseAddr(text))
	}
	if found == nil {
		return nil, &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
	}
	return found, nil
}

func (i *internet) dial(ctx context.Context, network, address string) (net.Conn, error) {
	i.mutex.Lock()
	i.dialed = append(i.dialed, address)
	i.mutex.Unlock()
	return (&net.Dialer{}).DialContext(ctx, network, i.server)
}

// through returns a client as Alertmanager is one, whose requests go through a proxy for these webhooks.
func through(t *testing.T, around *internet, behind *httptest.Server, known ...webhook) *http.Client {
	t.Helper()
	around.server = behind.Listener.Addr().String()
	served := httptest.NewServer(newProxy(known, ownOfTests, around.lookup, around.dial))
	t.Cleanup(served.Close)
	at, _ := url.Parse(served.URL)
	transport := &http.Transport{Proxy: http.ProxyURL(at), TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, Timeout: 20 * time.Second}
}

func post(client *http.Client, target string) (int, string) {
	answer, err := client.Post(target, "application/json", strings.NewReader(`{"status": "firing"}`))
	if err != nil {
		return 0, err.Error()
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		return answer.StatusCode, fmt.Sprintf("%d bytes, then %v", len(text), err)
	}
	return answer.StatusCode, string(text)
}

func echo(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	fmt.Fprintf(w, "%s %s %s %s %s", r.Method, r.Host, r.URL, r.Header.Get("Content-Type"), body)
}

func TestWebhooksOfTheFilesAreReached(t *testing.T) {
	around := &internet{names: map[string][]string{
		"oncall.example": {"9.9.9.9"}, "inner.example": {"10.1.2.3"}, "both.example": {"127.0.0.1", "10.9.0.1", "9.9.9.8"},
	}}
	secure := httptest.NewTLSServer(http.HandlerFunc(echo))
	defer secure.Close()
	client := through(
		t, around, secure,
		webhook{"https", "oncall.example", 443, nil, false},
		webhook{"https", "inner.example", 8443, []netip.Prefix{netip.MustParsePrefix("10.1.0.0/16")}, false},
		webhook{"https", "both.example", 443, nil, false},
		webhook{"https", "192.0.2.8", 8443, nil, false},
	)
	for target, address := range map[string]string{
		"https://oncall.example/hooks/a": "9.9.9.9:443", "https://inner.example:8443/": "10.1.2.3:8443",
		"https://both.example/": "9.9.9.8:443", "https://192.0.2.8:8443/city": "192.0.2.8:8443",
	} {
		around.dialed = nil
		code, text := post(client, target)
		if code != 200 || !strings.HasPrefix(text, "POST ") || !strings.HasSuffix(text, `application/json {"status": "firing"}`) {
			t.Errorf("%s: %d %s", target, code, text)
		}
		if !slices.Equal(around.dialed, []string{address}) {
			t.Errorf("%s leads to %v", target, around.dialed)
		}
	}
	if slices.Contains(around.asked, "192.0.2.8.") || !slices.Contains(around.asked, "oncall.example.") {
		t.Error("names that were asked for:", around.asked)
	}
	plain := httptest.NewServer(http.HandlerFunc(echo))
	defer plain.Close()
	client = through(t, around, plain, webhook{"http", "10.0.0.7", 80, nil, false})
	wanted := `POST 10.0.0.7 /a?b=c application/json {"status": "firing"}`
	if code, text := post(client, "http://10.0.0.7/a?b=c"); code != 200 || text != wanted {
		t.Errorf("%d %s", code, text)
	}
}

// The ranges of the city's clusters, as in `main`.
var ownOfTests = []netip.Prefix{netip.MustParsePrefix("198.18.8.0/21"), netip.MustParsePrefix("2001:db8:5::/48")}

func TestATenantsWebhookIsNotInTheCitysClusters(t *testing.T) {
	around := &internet{names: map[string][]string{
		"oncall.example": {"198.18.10.7"}, "mapped.example": {"::ffff:198.18.10.7"}, "beside.example": {"198.18.16.1"},
	}}
	behind := httptest.NewTLSServer(http.HandlerFunc(echo))
	defer behind.Close()
	wide := []netip.Prefix{netip.MustParsePrefix("198.0.0.0/8")}
	client := through(
		t, around, behind,
		webhook{"https", "198.18.12.1", 443, nil, false},
		webhook{"https", "oncall.example", 443, wide, false},
		webhook{"https", "mapped.example", 443, wide, false},
		webhook{"https", "beside.example", 443, wide, false},
		webhook{"https", "198.18.9.2", 6443, nil, true},
		// The city's own, which names no range; a tenant's of that name does.
		webhook{"https", "oncall.example", 8443, nil, true},
		webhook{"https", "oncall.example", 8443, wide, false},
	)
	for target, wanted := range map[string]string{
		"https://198.18.12.1/": "Forbidden", "https://oncall.example/": "Forbidden", "https://mapped.example/": "Forbidden",
		"https://oncall.example:8443/": "Forbidden", "https://beside.example/": "", "https://198.18.9.2:6443/": "",
	} {
		around.dialed = nil
		code, text := post(client, target)
		if wanted == "" && code != 200 || wanted != "" && (code != 0 || !strings.HasSuffix(text, wanted) || len(around.dialed) > 0) {
			t.Errorf("%s: %d %s %v", target, code, text, around.dialed)
		}
	}
}

func TestOwnNetworks(t *testing.T) {
	found, err := ownNetworks("10.0.0.0/16,fd00:1::/64", "192.0.2.7,10.9.0.3,fd00:2::3,")
	wanted := "[10.0.0.0/16 fd00:1::/64 192.0.2.7/32 10.9.0.3/32 fd00:2::3/128]"
	if err != nil || fmt.Sprint(found) != wanted {
		t.Error(found, err)
	}
	if _, err := ownNetworks("10.0.0.0", ""); err == nil {
		t.Error("an address is taken for a range")
	}
}

func TestNothingElseIsReached(t *testing.T) {
	around := &internet{names: map[string][]string{
		"oncall.example": {"9.9.9.9"}, "other.example": {"9.9.9.9"},
		"mapped.example": {"::ffff:10.1.2.3", "64:ff9b::a01:203", "::ffff:127.0.0.1"},
		"inner.example":  {"10.1.2.3", "172.16.0.1", "192.168.1.1", "100.64.0.1", "fd00::1", "198.18.0.1", "0.0.0.0"},
		"local.example":  {"127.0.0.1", "::1", "169.254.169.254", "fe80::1", "224.0.0.1", "100.100.100.200", "fd00:ec2::254"},
	}}
	behind := httptest.NewTLSServer(http.HandlerFunc(echo))
	defer behind.Close()
	everything := []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0"), netip.MustParsePrefix("::/0")}
	client := through(
		t, around, behind,
		webhook{"https", "oncall.example", 443, nil, false},
		webhook{"https", "mapped.example", 443, nil, false},
		webhook{"https", "inner.example", 443, nil, false},
		webhook{"https", "local.example", 443, everything, false},
		webhook{"https", "127.0.0.1", 443, nil, false},
		webhook{"https", "unknown.example", 443, nil, false},
	)
	for target, wanted := range map[string]string{
		"https://other.example/":       "Forbidden",
		"https://oncall.example:8443/": "Forbidden",
		"https://9.9.9.9/":             "Forbidden",
		"https://mapped.example/":      "Forbidden",
		"https://inner.example/":       "Forbidden",
		"https://local.example/":       "Forbidden",
		"https://127.0.0.1/":           "Forbidden",
		"https://unknown.example/":     "Bad Gateway",
	} {
		if code, text := post(client, target); code != 0 || !strings.HasSuffix(text, wanted) {
			t.Errorf("%s: %d %s", target, code, text)
		}
	}
	if code, text := post(client, "http://oncall.example/"); code != 403 {
		t.Errorf("plain, which the files do not say: %d %s", code, text)
	}
	if len(around.dialed) != 0 {
		t.Error("connections were made to", around.dialed)
	}
}

func TestANameIsAskedForOnceAConnection(t *testing.T) {
	around := &internet{names: map[string][]string{"oncall.example": {"9.9.9.9"}}}
	behind := httptest.NewTLSServer(http.HandlerFunc(echo))
	defer behind.Close()
	client := through(t, around, behind, webhook{"https", "oncall.example", 443, nil, false})
	if code, text := post(client, "https://oncall.example/"); code != 200 {
		t.Fatal(code, text)
	}
	around.names["oncall.example"] = []string{"127.0.0.1"}
	if code, text := post(client, "https://oncall.example/"); code != 200 {
		t.Errorf("over the same connection: %d %s", code, text)
	}
	client.CloseIdleConnections()
	if code, text := post(client, "https://oncall.example/"); code != 0 || !strings.HasSuffix(text, "Forbidden") {
		t.Errorf("after the name leads elsewhere: %d %s", code, text)
	}
	if len(around.asked) != 2 || !slices.Equal(around.dialed, []string{"9.9.9.9:443"}) {
		t.Error(around.asked, around.dialed)
	}
}

func TestAnswersAreBounded(t *testing.T) {
	around := &internet{}
	endless := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusInternalServerError)
		for {
			if _, err := w.Write(make([]byte, 32<<10)); err != nil {
				return
			}
		}
	})
	plain := httptest.NewServer(endless)
	defer plain.Close()
	client := through(t, around, plain, webhook{"http", "10.0.0.7", 80, nil, false})
	if code, text := post(client, "http://10.0.0.7/"); code != 500 || len(text) != answerBytes {
		t.Errorf("%d and %d bytes", code, len(text))
	}
	secure := httptest.NewTLSServer(endless)
	defer secure.Close()
	client = through(t, around, secure, webhook{"https", "10.0.0.7", 443, nil, false})
	code, text := post(client, "https://10.0.0.7/")
	var read int
	if _, err := fmt.Sscanf(text, "%d bytes, then", &read); code != 500 || err != nil || read > tunnelBytes {
		t.Errorf("%d: %.200s", code, text)
	}
}

func TestASilentTunnelEnds(t *testing.T) {
	around := &internet{}
	behind := httptest.NewTLSServer(http.HandlerFunc(echo))
	defer behind.Close()
	around.server = behind.Listener.Addr().String()
	made := newProxy([]webhook{{"https", "10.0.0.7", 443, nil, false}}, nil, around.lookup, around.dial)
	made.quiet = 100 * time.Millisecond
	served := httptest.NewServer(made)
	defer served.Close()
	connection, err := net.Dial("tcp", served.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer connection.Close()
	_ = connection.SetDeadline(time.Now().Add(5 * time.Second))
	_, _ = io.WriteString(connection, "CONNECT 10.0.0.7:443 HTTP/1.1\r\nHost: 10.0.0.7:443\r\n\r\n")
	text, err := io.ReadAll(connection)
	if err != nil || !strings.HasPrefix(string(text), "HTTP/1.1 200 ") {
		t.Errorf("%q %v", text, err)
	}
	if len(made.running) != 0 {
		time.Sleep(100 * time.Millisecond)
		if len(made.running) != 0 {
			t.Error("a tunnel that has ended is still counted")
		}
	}
}
