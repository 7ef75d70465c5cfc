package ask

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"time"

	"wecity.dev/data-services/serve"
)

// What the probe says of the table that it reads.
const described = `{"kind": "table", "title": "probe", "sharing": "none",
  "columns": [{"name": "id", "class": "open"}, {"name": "told", "class": "open"}],
  "table": {"database": "%s", "schema": "public", "name": "probed", "key": ["id"]},
  "grants": [{"tenant": "capability", "app": "probe", "columns": ["id", "told"], "minute": 6000}]}`

// Probe describes an asset, adds a result to it that it finds again, reads the asset's table, is refused a column, and
// lists the accounts. PORT is that of apps.
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
	var me struct{ Reader string }
	if err := apps.get(ctx, "/me", &me); err != nil {
		return err
	}
	const asset = "capability/probe/probe"
	// The role that reads has a database of its own name.
	content := strings.NewReader(fmt.Sprintf(described, me.Reader))
	if err := apps.do(ctx, http.MethodPut, "/assets/"+asset, nil, content); err != nil {
		return err
	}
	id := rand.Text()
	result, _ := json.Marshal(map[string]any{"rule": id, "passed": true})
	if err := apps.do(ctx, http.MethodPost, "/assets/"+asset+"/quality", nil, bytes.NewReader(result)); err != nil {
		return err
	}
	var quality struct{ Results []struct{ Rule string } }
	if err := apps.get(ctx, "/assets/"+asset+"/quality", &quality); err != nil {
		return err
	}
	is := false
	for _, item := range quality.Results {
		is = is || item.Rule == id
	}
	if !is {
		return errors.New("a result that was added is not among those of the asset")
	}
	var page struct{ Rows [][]any }
	if err := apps.get(ctx, "/data/"+asset, &page); err != nil {
		return err
	}
	if fmt.Sprint(page.Rows) != "[[1 read]]" {
		return fmt.Errorf("the table is read as %.300s", fmt.Sprint(page.Rows))
	}
	if err := apps.get(ctx, "/data/"+asset+"?columns=secret", &page); err == nil || !strings.Contains(err.Error(), "403") {
		return fmt.Errorf("a column that is not granted is not refused: %v", err)
	}
	if err := door.copyTo(ctx, io.Discard, "/accounts", nil); err != nil {
		return err
	}
	fmt.Println("an asset was described, its table read and a column refused, and accounts were listed")
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
