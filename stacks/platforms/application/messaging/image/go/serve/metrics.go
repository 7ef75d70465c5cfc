package serve

import (
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/nats-io/nats-server/v2/server"
)

// tell writes metrics in the text format. Names of owners have no character that would have to be escaped. Counters begin
// at 0 when the program starts.
func (b *broker) tell(w http.ResponseWriter) {
	b.mutex.Lock()
	known, closed := b.accounts.list(), b.closed
	b.mutex.Unlock()
	live := map[string]*server.AccountStat{}
	if found, err := b.server.AccountStatz(&server.AccountStatzOptions{IncludeUnused: true}); err == nil {
		for _, item := range found.Accounts {
			live[item.Account] = item
		}
	}
	var lines []string
	for _, item := range known {
		tenant, app := item.labels()
		used, state := b.usage(item.Name), live[item.Name]
		if state == nil {
			state = &server.AccountStat{}
		}
		for name, value := range map[string]int64{
			// Of the app's clients to the server, and of the server to them: requests to streams and acknowledgements too.
			"received_messages_total": state.Received.Msgs,
			"received_bytes_total":    state.Received.Bytes,
			"sent_messages_total":     state.Sent.Msgs,
			"sent_bytes_total":        state.Sent.Bytes,
			"slow_consumers_total":    state.SlowConsumers,
			"connections":             int64(state.Conns),
			"connections_limit":       item.Connections,
			"stored_bytes":            int64(used.Store),
			"stored_limit_bytes":      item.Storage,
			"memory_bytes":            int64(used.Memory),
			"memory_limit_bytes":      item.Memory,
			"streams":                 int64(used.Streams),
			"consumers":               int64(used.Consumers),
			"takes_nothing":           number(closed[""] || closed[item.Name]),
		} {
			lines = append(lines, fmt.Sprintf(
				"wecity_messaging_%s{account=%q,tenant=%q,app=%q} %d\n", name, item.Name, tenant, app, value))
		}
	}
	slices.Sort(lines)
	w.Header().Set("Content-Type", "text/plain; version=0.0.4")
	fmt.Fprint(w, strings.Join(lines, ""), volumeLines(b.config.data))
}

func number(is bool) int64 {
	if is {
		return 1
	}
	return 0
}
