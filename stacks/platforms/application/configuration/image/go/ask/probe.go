package ask

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"

	"wecity.dev/configuration/serve"
)

// Probe sets a key of its own, is told so while it waits for it, reads and deletes it, and lists the accounts. PORT is that
// of apps. Keys of probes that were killed are the oldest of its account, which keeps a bounded number.
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
	type state struct {
		Revision int64
		Values   []struct{ Key string }
		Changes  []struct{ Key, Value string }
	}
	var before state
	if err := apps.get(ctx, "/values", &before); err != nil {
		return err
	}
	for _, left := range before.Values {
		if err := apps.do(ctx, http.MethodDelete, "/values/"+left.Key, nil, nil); err != nil && !strings.Contains(err.Error(), " 404") {
			return err
		}
	}
	if err := apps.get(ctx, "/values", &before); err != nil {
		return err
	}
	key := "probe/" + rand.Text()
	answered := make(chan error, 1)
	go func() {
		since := before.Revision
		for {
			var after state
			if err := apps.get(ctx, "/changes?wait=10&since="+strconv.FormatInt(since, 10), &after); err != nil {
				answered <- err
				return
			}
			for _, change := range after.Changes {
				if change.Key == key && change.Value == "值" {
					answered <- nil
					return
				}
			}
			since = after.Revision
		}
	}()
	if err := apps.do(ctx, http.MethodPut, "/values/"+key, nil, strings.NewReader("值")); err != nil {
		return err
	}
	if err := <-answered; err != nil {
		return fmt.Errorf("a change is not told: %w", err)
	}
	read, err := apps.send(ctx, http.MethodGet, "/values/"+key, nil, nil)
	if err != nil {
		return err
	}
	text, err := io.ReadAll(io.LimitReader(read, 100))
	_ = read.Close()
	if err != nil || string(text) != "值" {
		return errors.New("a value is not read as it was set")
	}
	if err := apps.do(ctx, http.MethodDelete, "/values/"+key, nil, nil); err != nil {
		return err
	}
	if err := door.copyTo(ctx, io.Discard, "/accounts", nil); err != nil {
		return err
	}
	fmt.Println("a value was set, told, read and deleted, and accounts were listed")
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
