package serve

import (
	"crypto/tls"
	"encoding/json"
	"path/filepath"

	"github.com/nats-io/nats-server/v2/server"
)

const (
	// The account and user of the administrator, for probes. Accounts of apps have dots in their names.
	administrator = "admin"
	// What each account has, whatever its use states: streams, consumers of each of them, subscriptions, and the bytes of
	// one message.
	streams, consumers, subscriptions, payload = 32, 64, 4096, 1 << 20
	// The most bytes that wait for one client before it is disconnected. A client that does not read takes so much.
	pending = 4 << 20
	// The server's own limits are out of reach: the accounts' together are within what there is (`accounts.fits`), and a
	// server that finds less than its accounts have would not start.
	unreached = int64(1) << 60
)

// A config is how the server listens, and where and how it keeps streams.
type config struct {
	listen, data string
	connections  int64
	// How many subjects the streams of an account may have: the server keeps each in memory.
	subjects int64
	settings *tls.Config
	// Hashes of passwords: of the administrator, and of this program, which connects to every account inside the process.
	admin, own string
}

type object map[string]any

// options are those of the server with these accounts. An account in `visited` has a connection more: this program's. One
// in `closed` has no room for more: its streams are read and deleted only. The empty name closes all.
func (c *config) options(known []Account, visited map[string]int, closed map[string]bool) (*server.Options, error) {
	users := object{administrator: object{
		"jetstream": object{"max_mem": 1 << 20, "max_store": 8 << 20, "max_streams": 100, "max_consumers": 10},
		"limits":    object{"max_connections": 16, "max_subscriptions": subscriptions, "max_payload": 64 << 10},
		"users":     []object{{"user": administrator, "password": c.admin}},
	}}
	for _, item := range known {
		storage := item.Storage
		if closed[""] || closed[item.Name] {
			storage = 1
		}
		inside := object{"user": insider(item.Name), "password": c.own, "allowed_connection_types": []string{"IN_PROCESS"}}
		own := []object{inside}
		if item.Hash != "" {
			own = append(own, object{"user": item.Name, "password": item.Hash})
		}
		users[item.Name] = object{
			"jetstream": object{
				"max_mem": item.Memory, "max_store": storage, "max_streams": streams, "max_consumers": consumers,
			},
			"limits": object{
				"max_connections":   item.Connections + int64(visited[item.Name]),
				"max_subscriptions": subscriptions,
				"max_payload":       payload,
			},
			"users": own,
		}
	}
	text, err := json.Marshal(object{
		"listen":          c.listen,
		"server_name":     "messaging",
		"max_connections": c.connections,
		"max_payload":     payload,
		"max_pending":     pending,
		"jetstream": object{
			"store_dir":        c.data,
			"max_memory_store": unreached,
			"max_file_store":   unreached,
			// What was acknowledged is on the disk, and not only on its way there.
			"sync_interval": "always",
			// What the server keeps in memory of each message or consumer, which no limit of an account counts.
			"limits": object{"duplicate_window": "2m", "max_ack_pending": 5000},
		},
		"accounts": users,
	})
	if err != nil {
		return nil, err
	}
	options := &server.Options{}
	if err := options.ProcessConfigString(string(text)); err != nil {
		return nil, err
	}
	options.NoSigs = true
	if c.settings != nil {
		options.TLS, options.TLSConfig, options.TLSTimeout = true, c.settings, 5
	}
	return options, nil
}

// insider is the user of an account with whom this program connects to it.
func insider(name string) string { return "inside/" + name }

// directory is where the server keeps the streams of an account.
func (c *config) directory(account string) string { return filepath.Join(c.data, "jetstream", account) }
