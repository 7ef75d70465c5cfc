package serve

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
)

// A poster hands messages to a server that the city names, as JSON by HTTPS: a gateway of SMS, or a webhook.
type poster struct {
	client *http.Client
	target string
	token  string
}

func newPoster(line *line, target, token string) *poster {
	transport := &http.Transport{
		DialContext:            func(ctx context.Context, _, _ string) (net.Conn, error) { return line.connect(ctx) },
		TLSClientConfig:        line.trusted,
		MaxResponseHeaderBytes: 64 << 10,
		DisableKeepAlives:      true,
	}
	refuse := func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &poster{client: &http.Client{Transport: transport, CheckRedirect: refuse}, target: target, token: token}
}

// posted is what the server gets. The identifier is the same in each attempt.
type posted struct {
	ID      string `json:"id"`
	Channel string `json:"channel"`
	Tenant  string `json:"tenant"`
	App     string `json:"app"`
	To      string `json:"to"`
	Subject string `json:"subject,omitempty"`
	Text    string `json:"text"`
}

func (p *poster) send(ctx context.Context, item *message) error {
	text, err := json.Marshal(posted{item.ID, item.Channel, item.Tenant, item.App, item.To, item.Subject, item.Text})
	if err != nil {
		return err
	}
	asked, err := http.NewRequestWithContext(ctx, http.MethodPost, p.target, bytes.NewReader(text))
	if err != nil {
		return err
	}
	asked.Header.Set("Content-Type", "application/json")
	asked.Header.Set("Idempotency-Key", item.ID)
	asked.Header.Set("User-Agent", "wecity-notification")
	if p.token != "" {
		asked.Header.Set("Authorization", "Bearer "+p.token)
	}
	answer, err := p.client.Do(asked)
	if err != nil {
		// The address may have a secret in it, which an app must not read.
		var whole *url.Error
		if errors.As(err, &whole) {
			err = whole.Err
		}
		return fmt.Errorf("it is not taken: %w", err)
	}
	defer answer.Body.Close()
	_, _ = io.Copy(io.Discard, io.LimitReader(answer.Body, 64<<10))
	failure := fmt.Errorf("it is answered by %d", answer.StatusCode)
	switch {
	case answer.StatusCode >= 200 && answer.StatusCode < 300:
		return nil
	case answer.StatusCode == http.StatusBadRequest, answer.StatusCode == http.StatusUnprocessableEntity,
		answer.StatusCode == http.StatusRequestEntityTooLarge:
		// It says so of the message. Other codes, such as 401 and 404, are of the channel, which the city mends.
		return permanent{failure}
	}
	return failure
}
