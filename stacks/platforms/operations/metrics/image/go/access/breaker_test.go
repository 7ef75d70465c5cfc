package main

import (
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"
)

// A server that ends ends all its connections, before it has answered or in the middle of that.
func TestWhoseQueryEndsTheServerWaits(t *testing.T) {
	for _, begins := range []bool{false, true} {
		dies := true
		behind := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.ParseForm(); !dies || r.Form.Get("query") != "killer" {
				return
			}
			if begins {
				w.Header().Set("Content-Length", "100")
				w.WriteHeader(200)
				w.(http.Flusher).Flush()
			}
			time.Sleep(2 * soonest)
			panic(http.ErrAbortHandler)
		}))
		door, _ := opened(t)
		door.target, _ = url.Parse(behind.URL)
		now := time.Now()
		door.breaker.now = func() time.Time { return now }
		front := httptest.NewServer(door.queries())
		query := func(account, text string) int {
			request, _ := http.NewRequest("GET", front.URL+"/api/v1/query?query="+text, nil)
			request.SetBasicAuth(account, secret)
			answer, err := http.DefaultClient.Do(request)
			if err != nil {
				return 0
			}
			answer.Body.Close()
			return answer.StatusCode
		}
		for _, wait := range []time.Duration{firstWait, 2 * firstWait, 4 * firstWait} {
			if code := query("health.code.metrics", "killer"); begins == (code == http.StatusBadGateway) {
				t.Errorf("the query that ends the server: %d", code)
			}
			// Once the answer is cut off, the door has noticed it.
			for deadline := time.Now().Add(5 * time.Second); door.breaker.left("health") == 0 && time.Now().Before(deadline); {
				time.Sleep(time.Millisecond)
			}
			if left := door.breaker.left("health"); left != wait {
				t.Errorf("it waits for %s, not for %s", left, wait)
			}
			if code := query("health.code.metrics", "up"); code != http.StatusServiceUnavailable {
				t.Errorf("meanwhile: %d", code)
			}
			if code := query("transport.bus.metrics", "up"); code != 200 {
				t.Errorf("another tenant: %d", code)
			}
			now = now.Add(wait)
			if code := query("health.code.metrics", "up"); code != 200 {
				t.Errorf("afterwards: %d", code)
			}
		}
		// Long after that it begins anew.
		now = now.Add(2 * longestWait)
		door.breaker.strike("health")
		door.breaker.strike("health")
		if left := door.breaker.left("health"); left != firstWait {
			t.Errorf("after two days: %s", left)
		}
		// Rules are evaluated whatever happens.
		query("capability.alerts.metrics", "killer")
		if code := query("capability.alerts.metrics", "up"); code != 200 {
			t.Errorf("a capability: %d", code)
		}
		front.Close()
		behind.Close()
	}
}

func TestAServerThatIsAwayIsNobodysFault(t *testing.T) {
	door, _ := opened(t)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	door.target, _ = url.Parse("http://" + listener.Addr().String())
	listener.Close()
	code, text := ask(door.queries(), "GET", "/api/v1/query?query=up", "health.code.metrics", secret, "")
	if code != http.StatusBadGateway || !strings.Contains(text, "does not answer") || door.breaker.left("health") != 0 {
		t.Errorf("%d %s %s", code, text, door.breaker.left("health"))
	}
}
