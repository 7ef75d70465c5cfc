// Package ask is what the capability's Jobs run: it opens, locks, deletes and lists accounts in the store as its
// administrator, and shows that a line which is sent is found.
//
// HOST, PORT and ADMIN_PASSWORD say where the store is; AUTHORITY is the file with the certificates by which it is known,
// not set for a plain connection.
package ask

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
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

	"wecity.dev/logs/store"
)

type server struct {
	url    string
	client *http.Client
}

func connect() (*server, error) {
	made := &server{url: "http://" + net.JoinHostPort(os.Getenv("HOST"), os.Getenv("PORT"))}
	transport := &http.Transport{}
	if authority := os.Getenv("AUTHORITY"); authority != "" {
		text, err := os.ReadFile(authority)
		if err != nil {
			return nil, err
		}
		known := x509.NewCertPool()
		known.AppendCertsFromPEM(text)
		transport.TLSClientConfig = &tls.Config{RootCAs: known, MinVersion: tls.VersionTLS12}
		made.url = "https" + strings.TrimPrefix(made.url, "http")
	}
	made.client = &http.Client{Transport: transport, Timeout: 10 * time.Second}
	return made, nil
}

// reached waits until the store answers, for a minute at the most.
func (s *server) reached(ctx context.Context) error {
	var err error
	for range 60 {
		if _, err = s.ask(ctx, "", "", "/health", nil); err == nil {
			return nil
		}
		time.Sleep(time.Second)
	}
	return err
}

func (s *server) ask(ctx context.Context, name, password, path string, body []byte) ([]byte, error) {
	method := http.MethodPost
	if body == nil {
		method = http.MethodGet
	}
	request, err := http.NewRequestWithContext(ctx, method, s.url+path, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	if name != "" {
		request.SetBasicAuth(name, password)
	}
	response, err := s.client.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err == nil && response.StatusCode/100 != 2 {
		err = fmt.Errorf("%s is answered by %d: %.300s", path, response.StatusCode, strings.TrimSpace(string(text)))
	}
	return text, err
}

// Account does one of open, lock, delete and list with accounts. It opens APP_ROLE of OWNER with the password of
// APP_PASSWORD_SHA256, and CONNECTIONS requests at a time; it locks and deletes those of ACCOUNTS, which has a line `<account> <owner>` for each.
func Account(ctx context.Context, arguments []string) error {
	if len(arguments) != 1 {
		return errors.New("one of open, lock, delete and list is needed")
	}
	server, err := connect()
	if err != nil {
		return err
	}
	if err := server.reached(ctx); err != nil {
		return err
	}
	admin := func(path string, body any) ([]byte, error) {
		var text []byte
		if body != nil {
			text, err = json.Marshal(body)
			if err != nil {
				return nil, err
			}
		}
		return server.ask(ctx, store.Admin, os.Getenv("ADMIN_PASSWORD"), path, text)
	}
	switch action := arguments[0]; action {
	case "open":
		owner := os.Getenv("OWNER")
		// The first part of an owner is the tenant.
		tenant, _, _ := strings.Cut(owner, "/")
		requests, err := strconv.ParseInt(os.Getenv("CONNECTIONS"), 10, 64)
		if err != nil {
			return fmt.Errorf("CONNECTIONS is no number: %w", err)
		}
		_, err = admin("/accounts", map[string]any{
			"action": "open", "name": os.Getenv("APP_ROLE"), "tenant": tenant, "owner": owner,
			"sha256": os.Getenv("APP_PASSWORD_SHA256"), "requests": requests,
		})
		return err
	case "lock", "delete":
		for _, item := range strings.Split(os.Getenv("ACCOUNTS"), "\n") {
			words := strings.Fields(item)
			if len(words) != 2 {
				continue
			}
			change := map[string]string{"action": action, "name": words[0], "owner": words[1]}
			if _, err := admin("/accounts", change); err != nil {
				return err
			}
		}
		return nil
	case "list":
		text, err := admin("/accounts", nil)
		if err != nil {
			return err
		}
		return list(text)
	default:
		return fmt.Errorf("%q is none of open, lock, delete and list", action)
	}
}

// list prints accounts as the inventory of a capability does. Logs are the city's, so that an account has no bytes.
func list(text []byte) error {
	var accounts []struct {
		Name, Owner string
		Locked      int64
	}
	if err := json.Unmarshal(text, &accounts); err != nil {
		return err
	}
	for _, item := range accounts {
		state := "open -"
		if item.Locked != 0 {
			state = "locked " + strconv.FormatInt(item.Locked, 10)
		}
		fmt.Println("account", item.Name, item.Owner, 0, state)
	}
	return nil
}

// Probe sends a line as a shipper does and waits until a query finds it.
func Probe(ctx context.Context, _ []string) error {
	server, err := connect()
	if err != nil {
		return err
	}
	identity := make([]byte, 8)
	_, _ = rand.Read(identity)
	id := hex.EncodeToString(identity)
	admin := os.Getenv("ADMIN_PASSWORD")
	began := time.Now()
	entry, err := json.Marshal(map[string]string{
		"_time": began.UTC().Format(time.RFC3339Nano), "platform": "operations", "component": "probe",
		"_msg": "probe " + id,
	})
	if err != nil {
		return err
	}
	if _, err := server.ask(ctx, store.Shipper, store.ShipperPassword(admin), "/insert/jsonline", entry); err != nil {
		return err
	}
	values := url.Values{"query": {`_time:5m {component="probe"} "probe ` + id + `"`}}
	for time.Since(began) < 15*time.Second {
		text, err := server.ask(ctx, store.Admin, admin, "/select/logsql/query?"+values.Encode(), nil)
		if err != nil {
			return err
		}
		if bytes.Contains(text, []byte(id)) {
			fmt.Printf("a line was found %.1f s after it was sent\n", time.Since(began).Seconds())
			return nil
		}
		time.Sleep(200 * time.Millisecond)
	}
	return errors.New("a line that was sent is not found")
}
