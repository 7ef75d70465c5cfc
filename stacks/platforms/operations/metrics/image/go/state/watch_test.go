package main

import (
	"context"
	"crypto/x509"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// asking is the API of a server, which is asked again at once, and whose lists count for a while when it is silent.
func asking(t *testing.T, base string, client *http.Client) *api {
	t.Helper()
	account := t.TempDir()
	if err := os.WriteFile(filepath.Join(account, "token"), []byte("t"), 0o600); err != nil {
		t.Fatal(err)
	}
	return &api{base, account, client, 5 * time.Millisecond, 2 * time.Second}
}

func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	for range 500 {
		if is() {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatal(what)
}

func TestWhatCannotBeReadForAMomentIsKeptAndThenToldToBeUnknown(t *testing.T) {
	var down atomic.Bool
	var refused atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case down.Load():
			refused.Add(1)
			http.Error(w, "the server starts", http.StatusServiceUnavailable)
		case r.URL.Query().Get("watch") != "":
			w.(http.Flusher).Flush()
			<-r.Context().Done()
		default:
			_, _ = w.Write([]byte(`{"metadata": {"resourceVersion": "7"}, "items": [{"metadata": {"name": "one"},
				"status": {"phase": "Running"}}]}`))
		}
	}))
	defer server.Close()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	known, pods := newStore(), kind{"api/v1", "pods"}
	go asking(t, server.URL, server.Client()).follow(ctx, known, pods, "health-internet")
	owners := map[string]map[string]string{"health-internet": {"tenant": "health"}}
	is, unread := `pod="one",phase="Running"`, `wecity_unread{resource="pods",namespace="health-internet",tenant="health"} 1`
	tells := func(text string) bool { return strings.Contains(string(render(known, owners)), text) }
	eventually(t, "the pod is not known", func() bool { return tells(is) })
	down.Store(true)
	server.CloseClientConnections()
	eventually(t, "the server is not asked again", func() bool { return refused.Load() > 2 })
	if !tells(is) || tells(unreadSeries) {
		t.Errorf("after a moment:\n%s", render(known, owners))
	}
	eventually(t, "the pod counts for ever", func() bool { return !tells(is) && tells(unread) })
	down.Store(false)
	eventually(t, "the pod is not known again", func() bool { return tells(is) && !tells(unreadSeries) })
	cancel()
	server.CloseClientConnections()
}

func TestWhatWasNeverReadIsNotToldToBeUnknown(t *testing.T) {
	known, pods := newStore(), kind{"api/v1", "pods"}
	known.forget(pods, "health-internet")
	// A namespace that is deleted is empty when it cannot be read any more.
	known.replace(pods, "parks-internet", nil)
	known.forget(pods, "parks-internet")
	if text := string(render(known, nil)); text != "" {
		t.Error(text)
	}
}

func TestAConnectionThatIsGoneWithoutAnEndIsNoticed(t *testing.T) {
	watching := make(chan struct{}, 1)
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.(http.Flusher).Flush()
		watching <- struct{}{}
		<-r.Context().Done()
	}))
	server.EnableHTTP2 = true
	server.StartTLS()
	defer server.Close()
	defer server.CloseClientConnections()
	// Between the two is what may stop to pass anything on.
	between, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer between.Close()
	ended := make(chan struct{})
	defer close(ended)
	var gone atomic.Bool
	pass := func(to, from net.Conn) {
		defer to.Close()
		buffer := make([]byte, 4096)
		for {
			count, err := from.Read(buffer)
			if gone.Load() {
				<-ended
				return
			}
			if err != nil {
				return
			}
			if _, err := to.Write(buffer[:count]); err != nil {
				return
			}
		}
	}
	go func() {
		for {
			in, err := between.Accept()
			if err != nil {
				return
			}
			out, err := net.Dial("tcp", server.Listener.Addr().String())
			if err != nil {
				in.Close()
				return
			}
			go pass(out, in)
			go pass(in, out)
		}
	}()
	pool := x509.NewCertPool()
	pool.AddCert(server.Certificate())
	client := &http.Client{Transport: newTransport(pool, 50*time.Millisecond, 50*time.Millisecond)}
	watched := make(chan error, 1)
	go func() {
		made := asking(t, "https://"+between.Addr().String(), client)
		watched <- made.watch(t.Context(), newStore(), kind{"api/v1", "pods"}, "health-internet", "7")
	}()
	<-watching
	select {
	case err := <-watched:
		t.Fatalf("a silent watch is ended: %v", err)
	case <-time.After(300 * time.Millisecond):
	}
	gone.Store(true)
	select {
	case err := <-watched:
		if err == nil {
			t.Error("the watch ends as if the server had ended it")
		}
	case <-time.After(5 * time.Second):
		t.Error("the watch waits for a server that is gone")
	}
}
