package main

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
)

// write prints what the front counts, for each account. Counters begin at 0 when the program starts.
func (a *accounts) write(w io.Writer) {
	a.mutex.Lock()
	defer a.mutex.Unlock()
	names := slices.Sorted(maps.Keys(a.known))
	for _, series := range []struct {
		name, kind string
		value      func(string, *account) int64
	}{
		{"wecity_iot_connections", "gauge", func(_ string, one *account) int64 { return one.open }},
		{"wecity_iot_connections_limit", "gauge", func(_ string, one *account) int64 { return one.connections }},
		{"wecity_iot_sessions", "gauge", func(name string, _ *account) int64 { return int64(len(a.sessions[name])) }},
		{"wecity_iot_retained_bytes", "gauge", func(_ string, one *account) int64 { return one.retainedBytes }},
		{"wecity_iot_retained_bytes_limit", "gauge", func(_ string, one *account) int64 { return one.storage }},
		{"wecity_iot_received_messages_total", "counter", func(_ string, one *account) int64 { return one.received }},
		{"wecity_iot_sent_messages_total", "counter", func(_ string, one *account) int64 { return one.sent }},
		{"wecity_iot_refusals_total", "counter", func(_ string, one *account) int64 { return one.refused }},
	} {
		fmt.Fprintf(w, "# TYPE %s %s\n", series.name, series.kind)
		for _, name := range names {
			// `<tenant>.<app>.<alias>`, unless it was too long.
			words := append(strings.SplitN(name, ".", 3), "", "")
			fmt.Fprintf(w, "%s{account=%q,tenant=%q,app=%q} %d\n", series.name, name, words[0], words[1],
				series.value(name, a.known[name]))
		}
	}
}
