package ask

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"time"

	"wecity.dev/notification/serve"
)

// Probe puts a template, brings a message to a sink of its own, reads it back when it was sent, and lists the accounts.
// PORT is that of apps.
func Probe(ctx context.Context, arguments []string) error {
	door, _, err := open("probe", arguments)
	if err != nil {
		return err
	}
	apps := *door
	scheme, _, _ := strings.Cut(door.url, ":")
	apps.url = scheme + "://" + net.JoinHostPort(os.Getenv("HOST"), os.Getenv("PORT"))
	apps.user, apps.password = "probe", serve.ProbePassword(door.password)
	ctx, cancel := context.WithTimeout(ctx, 18*time.Second)
	defer cancel()
	content := strings.NewReader(`{"channel": "probe", "text": "probed {{what}}"}`)
	if err := apps.do(ctx, http.MethodPut, "/templates/probe", nil, content); err != nil {
		return err
	}
	what := rand.Text()
	asked, _ := json.Marshal(map[string]any{
		"template": "probe", "to": "probe", "key": what, "values": map[string]string{"what": what},
	})
	var made struct{ ID string }
	answer, err := apps.send(ctx, http.MethodPost, "/messages", nil, bytes.NewReader(asked))
	if err == nil {
		err = json.NewDecoder(answer).Decode(&made)
		_ = answer.Close()
	}
	if err != nil {
		return err
	}
	for {
		var found struct {
			State string
			Kept  struct{ Text string }
		}
		if err := apps.get(ctx, "/messages/"+made.ID, &found); err != nil {
			return err
		}
		if found.State == "sent" {
			if found.Kept.Text != "probed "+what {
				return fmt.Errorf("a message was kept as %.300q", found.Kept.Text)
			}
			break
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("a message is still %s", found.State)
		case <-time.After(100 * time.Millisecond):
		}
	}
	if err := door.copyTo(ctx, io.Discard, "/accounts", nil); err != nil {
		return err
	}
	fmt.Println("a message was brought, sent and read back, and accounts were listed")
	return nil
}

func (d *door) get(ctx context.Context, path string, to any) error {
	answer, err := d.send(ctx, http.MethodGet, path, nil, nil)
	if err != nil {
		return err
	}
	defer answer.Close()
	return json.NewDecoder(answer).Decode(to)
}
