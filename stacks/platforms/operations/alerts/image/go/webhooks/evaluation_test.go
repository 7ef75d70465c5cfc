package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

type posted struct {
	Labels, Annotations map[string]string
	StartsAt, EndsAt    time.Time
}

func TestRulesThatAreNotEvaluatedAreTold(t *testing.T) {
	health := "ok"
	evaluator := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		name, password, _ := r.BasicAuth()
		if name != "admin" || password != "secret" || r.URL.Path != "/api/v1/rules" {
			http.Error(w, "not you", http.StatusUnauthorized)
			return
		}
		rules := `{"data": {"groups": [{"rules": [{"health": "ok"}, {"health": %q, "lastError": "no route"}]}]}}`
		fmt.Fprintf(w, rules, health)
	}))
	var told []posted
	manager := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var found []posted
		if err := json.NewDecoder(r.Body).Decode(&found); err != nil || r.URL.Path != "/api/v2/alerts" {
			http.Error(w, "no alerts", http.StatusBadRequest)
			return
		}
		told = append(told, found...)
	}))
	defer manager.Close()
	file := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(file, []byte("secret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	watch := newWatch(evaluator.URL, manager.URL, file)
	start := time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)
	at := func(seconds int) time.Time { return start.Add(time.Duration(seconds) * time.Second) }
	look := func(seconds, wanted int) {
		t.Helper()
		if err := watch.look(t.Context(), at(seconds)); err != nil {
			t.Fatal(err)
		}
		if len(told) != wanted {
			t.Fatalf("after %d s, %d alerts were told: %v", seconds, len(told), told)
		}
	}
	look(0, 0)
	health = "err"
	look(15, 0)
	look(60, 0)
	look(75, 1)
	first := told[0]
	if first.Labels["alertname"] != "NotEvaluated" || first.Labels["severity"] != "critical" ||
		!strings.Contains(first.Annotations["summary"], "1 of 2 rules cannot be evaluated: no route") {
		t.Error(first)
	}
	if !first.StartsAt.Equal(at(15)) || !first.EndsAt.Equal(at(135)) {
		t.Errorf("it is of %s to %s", first.StartsAt, first.EndsAt)
	}
	look(90, 2)
	health = "ok"
	look(105, 3)
	if ended := told[2]; !ended.StartsAt.Equal(at(15)) || !ended.EndsAt.Equal(at(105)) {
		t.Errorf("its end is of %s to %s", ended.StartsAt, ended.EndsAt)
	}
	look(120, 3)
	// A store that is started again fails for a moment.
	health = "err"
	look(135, 3)
	health = "ok"
	look(150, 3)
	evaluator.Close()
	look(165, 3)
	look(240, 4)
	if !strings.Contains(told[3].Annotations["summary"], "vmalert does not answer") {
		t.Error(told[3])
	}
}
