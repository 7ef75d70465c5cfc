package main

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
)

// measure notes what the server measures of itself. A text that is no number is left out.
func (a *accounts) measure(name, value string) {
	if strings.Trim(value, "0123456789.") != "" || value == "" {
		return
	}
	a.mutex.Lock()
	defer a.mutex.Unlock()
	a.server[name] = value
}

// write prints metrics in the text format. Counters of accounts begin at 0 when the program starts. Names of accounts
// have no character that would have to be escaped.
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
		{"wecity_iot_retained_bytes_limit", "gauge", func(string, *account) int64 { return a.mostRetained }},
		{"wecity_iot_received_messages_total", "counter", func(_ string, one *account) int64 { return one.received }},
		{"wecity_iot_sent_messages_total", "counter", func(_ string, one *account) int64 { return one.sent }},
		{"wecity_iot_refusals_total", "counter", func(_ string, one *account) int64 { return one.refused }},
	} {
		fmt.Fprintf(w, "# TYPE %s %s\n", series.name, series.kind)
		for _, name := range names {
			// `<tenant>.<app>.<alias>`; a name that was too long has less.
			words := append(strings.SplitN(name, ".", 3), "", "")
			fmt.Fprintf(w, "%s{account=%q,tenant=%q,app=%q} %d\n",
				series.name, name, words[0], words[1], series.value(name, a.known[name]))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(a.server)) {
		kind := "gauge"
		if strings.HasSuffix(name, "_total") {
			kind = "counter"
		}
		fmt.Fprintf(w, "# TYPE %s %s\n%s %s\n", name, kind, name, a.server[name])
	}
}
