package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"
)

// A client asks the store as its administrator, for backups and restores.
type client struct {
	address, password string
	http              *http.Client
	// How long to wait before a part that was not taken is sent again.
	pause time.Duration
	// How long the store may tell figures of before.
	settled time.Duration
}

// connected is the client that HOST, PORT and ADMIN_PASSWORD say; AUTHORITY is the file with the certificates by which
// it knows the store, not set for a plain connection.
func connected() (*client, error) {
	made := &client{address: "http://" + net.JoinHostPort(os.Getenv("HOST"), os.Getenv("PORT"))}
	made.password, made.pause = os.Getenv("ADMIN_PASSWORD"), 3*time.Second
	made.settled = 1200 * time.Millisecond
	transport := &http.Transport{ResponseHeaderTimeout: 5 * time.Minute}
	if authority := os.Getenv("AUTHORITY"); authority != "" {
		text, err := os.ReadFile(authority)
		if err != nil {
			return nil, err
		}
		known := x509.NewCertPool()
		if !known.AppendCertsFromPEM(text) {
			return nil, fmt.Errorf("%s has no certificates", authority)
		}
		transport.TLSClientConfig = &tls.Config{RootCAs: known, MinVersion: tls.VersionTLS12}
		made.address = "https" + strings.TrimPrefix(made.address, "http")
	}
	made.http = &http.Client{Transport: transport}
	return made, nil
}

// ask returns the body of an answer that is a success. A body that is cut ends with an error.
func (c *client) ask(ctx context.Context, method, path string, values url.Values, body io.Reader) (io.ReadCloser, error) {
	target := c.address + path
	if len(values) > 0 {
		target += "?" + values.Encode()
	}
	request, err := http.NewRequestWithContext(ctx, method, target, body)
	if err != nil {
		return nil, err
	}
	request.SetBasicAuth(administrator, c.password)
	response, err := c.http.Do(request)
	if err != nil {
		return nil, err
	}
	if response.StatusCode/100 != 2 {
		defer response.Body.Close()
		text, _ := io.ReadAll(io.LimitReader(response.Body, 300))
		return nil, fmt.Errorf("%s is answered by %d: %s", path, response.StatusCode, strings.TrimSpace(string(text)))
	}
	return response.Body, nil
}

// done asks and passes over the answer.
func (c *client) done(ctx context.Context, method, path string, values url.Values, body io.Reader) error {
	answer, err := c.ask(ctx, method, path, values, body)
	if err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, answer)
	return errors.Join(err, answer.Close())
}

// figures adds up the store's own metrics of a name, of all labels that contain `part`.
func (c *client) figures(ctx context.Context, name, part string) (int64, error) {
	time.Sleep(c.settled)
	answer, err := c.ask(ctx, http.MethodGet, "/metrics", nil, nil)
	if err != nil {
		return 0, err
	}
	defer answer.Close()
	text, err := io.ReadAll(answer)
	if err != nil {
		return 0, err
	}
	var sum int64
	for _, line := range strings.Split(string(text), "\n") {
		cut := strings.LastIndexByte(line, ' ')
		if cut < 0 || !strings.HasPrefix(line, name) || !strings.Contains(line[:cut], part) {
			continue
		}
		if rest := line[len(name):cut]; rest != "" && rest[0] != '{' {
			continue
		}
		if value, err := strconv.ParseFloat(line[cut+1:], 64); err == nil {
			sum += int64(value)
		}
	}
	return sum, nil
}
