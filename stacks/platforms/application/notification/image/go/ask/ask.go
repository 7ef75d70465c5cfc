// Package ask is what Jobs run: accounts made, locked, deleted and listed by the administrator, and the probe. Each takes
// HOST, ADMIN_PASSWORD and AUTHORITY, the file with the certificates by which the server is known, from its environment;
// AUTHORITY is not set for a plain connection.
package ask

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"
)

const administrator = "admin"

// A door is the administrator's interface of a server.
type door struct {
	client   *http.Client
	url      string
	user     string
	password string
	tries    int
}

func open(name string, arguments []string) (*door, []string, error) {
	flags := flag.NewFlagSet(name, flag.ExitOnError)
	port := flags.String("admin", "8444", "`port` of the administrator's interface")
	tries := flags.Int("tries", 60, "how often the server is asked for, once a second")
	if err := flags.Parse(arguments); err != nil {
		return nil, nil, err
	}
	found := &door{client: &http.Client{}, user: administrator, password: os.Getenv("ADMIN_PASSWORD"), tries: *tries}
	scheme, trusted, err := "http", (*tls.Config)(nil), error(nil)
	if trusted, err = authority(); err != nil {
		return nil, nil, err
	}
	if trusted != nil {
		scheme, found.client.Transport = "https", &http.Transport{TLSClientConfig: trusted}
	}
	found.url = scheme + "://" + net.JoinHostPort(os.Getenv("HOST"), *port)
	return found, flags.Args(), nil
}

// authority is how a server is known; nil for a plain connection.
func authority() (*tls.Config, error) {
	file := os.Getenv("AUTHORITY")
	if file == "" {
		return nil, nil
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	known := x509.NewCertPool()
	if !known.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("%s has no certificates", file)
	}
	return &tls.Config{RootCAs: known, MinVersion: tls.VersionTLS12}, nil
}

// wait returns when the server answers.
func (d *door) wait(ctx context.Context) error {
	for try := 1; ; try++ {
		within, cancel := context.WithTimeout(ctx, 5*time.Second)
		answer, err := d.send(within, http.MethodGet, "/health", nil, nil)
		cancel()
		if err == nil {
			return answer.Close()
		}
		if try >= d.tries {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(time.Second):
		}
	}
}

// send asks the server as its administrator; the answer's body is the caller's to close.
func (d *door) send(ctx context.Context, method, path string, query url.Values, body io.Reader) (io.ReadCloser, error) {
	if len(query) > 0 {
		path += "?" + query.Encode()
	}
	request, err := http.NewRequestWithContext(ctx, method, d.url+path, body)
	if err != nil {
		return nil, err
	}
	request.SetBasicAuth(d.user, d.password)
	answer, err := d.client.Do(request)
	if err != nil {
		return nil, err
	}
	if answer.StatusCode < 300 {
		return answer.Body, nil
	}
	defer answer.Body.Close()
	text, _ := io.ReadAll(io.LimitReader(answer.Body, 1<<10))
	return nil, fmt.Errorf("%s %s is answered by %d: %s", method, path, answer.StatusCode, strings.TrimSpace(string(text)))
}

// do asks for something that is answered by nothing.
func (d *door) do(ctx context.Context, method, path string, query url.Values, body io.Reader) error {
	answer, err := d.send(ctx, method, path, query, body)
	if err != nil {
		return err
	}
	return answer.Close()
}

// Account does what its argument says: `put` makes the account APP_ROLE of OWNER with APP_PASSWORD, CONNECTIONS and
// STORAGE; `lock` and `delete` are for those of ACCOUNTS, a line of name and owner for each; `list` prints all.
func Account(ctx context.Context, arguments []string) error {
	door, what, err := open("account", arguments)
	if err != nil {
		return err
	}
	if len(what) != 1 {
		return errors.New("say one of put, lock, delete and list")
	}
	if err := door.wait(ctx); err != nil {
		return err
	}
	switch what[0] {
	case "put":
		query := url.Values{}
		for _, name := range []string{"OWNER", "CONNECTIONS", "STORAGE"} {
			query.Set(strings.ToLower(name), os.Getenv(name))
		}
		name := os.Getenv("APP_ROLE")
		password := strings.NewReader(os.Getenv("APP_PASSWORD"))
		if err := door.do(ctx, http.MethodPut, "/accounts/"+url.PathEscape(name), query, password); err != nil {
			return err
		}
		fmt.Printf("%s may sign in\n", name)
		return nil
	case "lock", "delete":
		for _, line := range strings.Split(os.Getenv("ACCOUNTS"), "\n") {
			words := strings.Fields(line)
			if len(words) != 2 {
				continue
			}
			path, query := "/accounts/"+url.PathEscape(words[0]), url.Values{"owner": {words[1]}}
			method := http.MethodDelete
			if what[0] == "lock" {
				method, path = http.MethodPost, path+"/lock"
			}
			if err := door.do(ctx, method, path, query, nil); err != nil {
				return err
			}
		}
		return nil
	case "list":
		return door.copyTo(ctx, os.Stdout, "/accounts", nil)
	}
	return fmt.Errorf("an account is not to be %.40q: say one of put, lock, delete and list", what[0])
}

func (d *door) copyTo(ctx context.Context, to io.Writer, path string, query url.Values) error {
	answer, err := d.send(ctx, http.MethodGet, path, query, nil)
	if err != nil {
		return err
	}
	defer answer.Close()
	_, err = io.Copy(to, answer)
	return err
}
