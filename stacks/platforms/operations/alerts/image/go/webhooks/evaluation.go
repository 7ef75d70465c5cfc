package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
	"strings"
	"time"
)

// Bytes of vmalert's answer about its rules: some hundred bytes for each.
const longestRules = 4 << 20

// A watch looks whether rules are evaluated, and has Alertmanager tell when they are not, as while the metrics are away:
// no rule could say so itself.
type watch struct {
	// URLs of vmalert and of Alertmanager, and the file with the password of vmalert's administrator.
	evaluator, manager, password string
	client                       *http.Client
	// How often it looks, and how long rules may fail before that is told. A store that is started again is not told.
	every, patience time.Duration
	// Since when rules fail, the zero time if they do not; and whether that was told.
	began time.Time
	told  bool
}

func newWatch(evaluator, manager, password string) *watch {
	// Both are in the same pod: vmalert is asked for no certificate, so that one that has run out keeps nobody from knowing.
	transport := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}
	return &watch{
		evaluator: evaluator, manager: manager, password: password,
		client: &http.Client{Transport: transport, Timeout: 10 * time.Second},
		every:  15 * time.Second, patience: time.Minute,
	}
}

func (w *watch) run(ctx context.Context) {
	ticks := time.NewTicker(w.every)
	defer ticks.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-ticks.C:
			if err := w.look(ctx, now); err != nil {
				log.Printf("Alertmanager is not told whether rules are evaluated: %v", err)
			}
		}
	}
}

// look tells again at each look that rules fail, and once that they do no more. What is not repeated ends by itself.
func (w *watch) look(ctx context.Context, now time.Time) error {
	problem := w.problem(ctx)
	if problem == "" {
		began, told := w.began, w.told
		w.began, w.told = time.Time{}, false
		if !told {
			return nil
		}
		return w.tell(ctx, began, now, "rules are evaluated again")
	}
	if w.began.IsZero() {
		w.began = now
	}
	if now.Sub(w.began) < w.patience {
		return nil
	}
	w.told = true
	return w.tell(ctx, w.began, now.Add(4*w.every), "nothing new is known of the city: "+problem)
}

// problem says why rules are not evaluated; it is empty if all are.
func (w *watch) problem(ctx context.Context) string {
	password, err := os.ReadFile(w.password)
	if err != nil {
		return err.Error()
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, w.evaluator+"/api/v1/rules?exclude_alerts=true", nil)
	if err != nil {
		return err.Error()
	}
	request.SetBasicAuth("admin", strings.TrimSpace(string(password)))
	answer, err := w.client.Do(request)
	if err != nil {
		return fmt.Sprintf("vmalert does not answer: %v", err)
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return fmt.Sprintf("vmalert answers with %d", answer.StatusCode)
	}
	var told struct {
		Data struct {
			Groups []struct {
				Rules []struct {
					Health    string `json:"health"`
					LastError string `json:"lastError"`
				} `json:"rules"`
			} `json:"groups"`
		} `json:"data"`
	}
	if err := json.NewDecoder(io.LimitReader(answer.Body, longestRules)).Decode(&told); err != nil {
		return fmt.Sprintf("vmalert answers with something else than rules: %v", err)
	}
	all, broken, why := 0, 0, ""
	for _, group := range told.Data.Groups {
		for _, rule := range group.Rules {
			all++
			if rule.Health == "err" {
				broken++
				why = rule.LastError
			}
		}
	}
	if broken == 0 {
		return ""
	}
	return fmt.Sprintf("%d of %d rules cannot be evaluated: %.300s", broken, all, why)
}

func (w *watch) tell(ctx context.Context, began, ends time.Time, summary string) error {
	text, err := json.Marshal([]map[string]any{{
		"labels":      map[string]string{"alertname": "NotEvaluated", "severity": "critical"},
		"annotations": map[string]string{"summary": summary},
		"startsAt":    began.UTC().Format(time.RFC3339),
		"endsAt":      ends.UTC().Format(time.RFC3339),
	}})
	if err != nil {
		return err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, w.manager+"/api/v2/alerts", bytes.NewReader(text))
	if err != nil {
		return err
	}
	request.Header.Set("Content-Type", "application/json")
	answer, err := w.client.Do(request)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return fmt.Errorf("it answers with %d", answer.StatusCode)
	}
	return nil
}
