package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"
)

const (
	lookEvery = 15 * time.Second
	// For how long the store may not answer: it is replaced within that time, and no alert ends meanwhile.
	lookFor = 2 * time.Minute
)

// A watch tells Alertmanager when the store of metrics does not answer. No rule is evaluated then, so that vmalert tells
// of nothing, whatever happens.
type watch struct {
	// The directory with the address of the store, and what it is known by; the URL of Alertmanager.
	binding, manager string
	every, patience  time.Duration
}

func (w watch) run(ctx context.Context) {
	ticks := time.NewTicker(w.every)
	defer ticks.Stop()
	since := time.Time{}
	for {
		err := w.look(ctx)
		switch {
		case err == nil:
			since = time.Time{}
		case since.IsZero():
			since = time.Now()
		case time.Since(since) >= w.patience:
			if told := w.tell(ctx, since, err); told != nil {
				log.Printf("Alertmanager is not told that the store of metrics does not answer (%v): %v", err, told)
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-ticks.C:
		}
	}
}

// look returns why the store does not answer.
func (w watch) look(ctx context.Context) error {
	address, err := os.ReadFile(filepath.Join(w.binding, "url"))
	if err != nil {
		return err
	}
	settings := &tls.Config{MinVersion: tls.VersionTLS12}
	switch authority, err := os.ReadFile(filepath.Join(w.binding, "ca.crt")); {
	case err == nil:
		settings.RootCAs = x509.NewCertPool()
		settings.RootCAs.AppendCertsFromPEM(authority)
	case !errors.Is(err, fs.ErrNotExist):
		return err
	}
	client := &http.Client{
		Timeout:   5 * time.Second,
		Transport: &http.Transport{TLSClientConfig: settings, DisableKeepAlives: true},
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, strings.TrimSpace(string(address))+"/health", nil)
	if err != nil {
		return err
	}
	answer, err := client.Do(request)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return fmt.Errorf("it answers with %s", answer.Status)
	}
	return nil
}

// tell has Alertmanager send an alert, which ends by itself when it is not told again.
func (w watch) tell(ctx context.Context, since time.Time, why error) error {
	text, err := json.Marshal([]map[string]any{{
		"labels": map[string]string{"alertname": "NotEvaluated", "severity": "critical"},
		"annotations": map[string]string{
			"summary": fmt.Sprintf("no rule is evaluated, as the store of metrics does not answer: %.200v", why),
		},
		"startsAt": since.UTC().Format(time.RFC3339),
		"endsAt":   time.Now().Add(4 * w.every).UTC().Format(time.RFC3339Nano),
	}})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, w.manager+"/api/v2/alerts", bytes.NewReader(text))
	if err != nil {
		return err
	}
	request.Header.Set("Content-Type", "application/json")
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		told, _ := io.ReadAll(io.LimitReader(answer.Body, 300))
		return fmt.Errorf("it answers with %s: %s", answer.Status, told)
	}
	return nil
}
