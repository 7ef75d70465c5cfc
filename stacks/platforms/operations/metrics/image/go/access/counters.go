package main

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
)

const queriesSeries = "wecity_metrics_queries_total"

// counters count the queries that ran for each app of a tenant. They begin at 0 when the program starts.
type counters struct {
	mutex sync.Mutex
	known map[[2]string]int64
	// Of the volume, about which the page tells too.
	directory string
}

// add counts a query of an account. Those of capabilities belong to no tenant, and are not counted.
func (c *counters) add(item account) {
	parts := strings.SplitN(item.Owner, "/", 3)
	if item.Tenant == "" || len(parts) != 3 {
		return
	}
	c.mutex.Lock()
	defer c.mutex.Unlock()
	if c.known == nil {
		c.known = map[[2]string]int64{}
	}
	c.known[[2]string{item.Tenant, parts[1]}]++
}

// ServeHTTP tells the counters, and how full the volume is, in the text format. Names of owners have no character that would have to be escaped.
func (c *counters) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	c.mutex.Lock()
	lines := make([]string, 0, len(c.known))
	for owner, count := range c.known {
		lines = append(lines, fmt.Sprintf("%s{tenant=%q,app=%q} %d\n", queriesSeries, owner[0], owner[1], count))
	}
	c.mutex.Unlock()
	slices.Sort(lines)
	w.Header().Set("Content-Type", "text/plain; version=0.0.4")
	fmt.Fprintf(w, "# TYPE %s counter\n%s%s", queriesSeries, strings.Join(lines, ""), volumeLines(c.directory))
}
