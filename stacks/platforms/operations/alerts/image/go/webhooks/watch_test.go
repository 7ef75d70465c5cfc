package main

import (
	"context"
	"encoding/json"
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

func TestAStoreThatDoesNotAnswerIsTold(t *testing.T) {
	var down atomic.Bool
	var looked, told atomic.Int64
	store := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		looked.Add(1)
		if r.URL.Path != "/health" || down.Load() {
			http.Error(w, "the server behind is not there", http.StatusBadGateway)
		}
	}))
	defer store.Close()
	manager := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		var alerts []struct {
			Labels, Annotations map[string]string
			StartsAt, EndsAt    time.Time
		}
		if err := json.NewDecoder(r.Body).Decode(&alerts); err != nil || r.URL.Path != "/api/v2/alerts" || len(alerts) != 1 {
			t.Errorf("%s: %v %v", r.URL, alerts, err)
			return
		}
		one := alerts[0]
		if one.Labels["alertname"] != "NotEvaluated" || one.Labels["severity"] != "critical" ||
			!strings.Contains(one.Annotations["summary"], "502") || !one.EndsAt.After(one.StartsAt) {
			t.Errorf("%+v", one)
		}
		told.Add(1)
	}))
	defer manager.Close()
	binding := t.TempDir()
	authority := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: store.Certificate().Raw})
	for name, text := range map[string]string{"url": store.URL + "\n", "ca.crt": string(authority)} {
		if err := os.WriteFile(filepath.Join(binding, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		watch{binding, manager.URL, 10 * time.Millisecond, 200 * time.Millisecond}.run(ctx)
	}()
	wait := func(what string, is func() bool) {
		t.Helper()
		for range 1000 {
			if is() {
				return
			}
			time.Sleep(10 * time.Millisecond)
		}
		t.Fatal(what)
	}
	wait("the store is not asked", func() bool { return looked.Load() > 3 })
	if told.Load() != 0 {
		t.Error("a store that answers is told of")
	}
	down.Store(true)
	began := time.Now()
	wait("nobody is told", func() bool { return told.Load() > 1 })
	if time.Since(began) < 200*time.Millisecond {
		t.Error("it is told at once")
	}
	down.Store(false)
	before := looked.Load()
	wait("the store is not asked again", func() bool { return looked.Load() > before+2 })
	after := told.Load()
	before = looked.Load()
	wait("the store is not asked again", func() bool { return looked.Load() > before+30 })
	if told.Load() != after {
		t.Error("a store that answers again is told of")
	}
	cancel()
	<-ended
}

func TestABindingThatIsNotThereIsNoAnswer(t *testing.T) {
	if err := (watch{binding: t.TempDir()}).look(t.Context()); err == nil {
		t.Error("a store without an address answers")
	}
}
