package main

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

const (
	pulls  = "wecity_registry_pulls_total"
	pushes = "wecity_registry_pushes_total"
)

// counters count the manifests that were pushed and pulled for each app of a tenant, and for the city's own images.
// They begin at 0 when the program starts.
type counters struct {
	mutex sync.Mutex
	known map[[3]string]int64
	// When something was pushed or about to be for the last time, and whether there may be garbage since it was collected.
	pushed  time.Time
	garbage bool
}

// add counts a request that was answered.
func (c *counters) add(asked *question, r *http.Request, status int) {
	if status >= 300 {
		return
	}
	c.mutex.Lock()
	defer c.mutex.Unlock()
	writes := r.Method != http.MethodGet && r.Method != http.MethodHead
	// Who pushes asks for each layer first, and does not send what is there.
	if writes || r.Method == http.MethodHead && strings.Contains(r.URL.Path, "/blobs/") {
		c.pushed = time.Now()
	}
	// Layers of a push that was given up, as it did not fit, are named by nothing, and count for their tenant.
	c.garbage = c.garbage || writes
	if !strings.Contains(r.URL.Path, "/manifests/") {
		return
	}
	series := ""
	switch r.Method {
	case http.MethodGet:
		series = pulls
	case http.MethodPut:
		series = pushes
	}
	if series == "" {
		return
	}
	if c.known == nil {
		c.known = map[[3]string]int64{}
	}
	c.known[[3]string{series, asked.account.Tenant, asked.account.app()}]++
}

// idle is whether nothing was pushed for a time.
func (c *counters) idle(enough time.Duration) bool {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	return time.Since(c.pushed) >= enough
}

func (c *counters) deleted() {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	c.garbage = true
}

func (c *counters) collected() {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	c.garbage = false
}

func (c *counters) dirty() bool {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	return c.garbage
}

// tell writes metrics in the text format. Names of owners have no character that would have to be escaped.
func (d *door) tell(w http.ResponseWriter) {
	lines := []string{}
	counts := map[[3]string]int64{}
	tenants := map[string]bool{}
	// A series that is not there until something happens cannot be told from one that nobody reads.
	for _, item := range append(d.accounts.list(), account{}) {
		for _, series := range []string{pulls, pushes} {
			counts[[3]string{series, item.Tenant, item.app()}] = 0
		}
		if item.Tenant != "" {
			tenants[item.Tenant] = true
		}
	}
	d.counters.mutex.Lock()
	maps.Copy(counts, d.counters.known)
	d.counters.mutex.Unlock()
	for key, count := range counts {
		lines = append(lines, fmt.Sprintf("%s{tenant=%q,app=%q} %d\n", key[0], key[1], key[2], count))
	}
	for tenant := range tenants {
		if used, err := d.kept.used(tenant); err == nil {
			lines = append(lines, fmt.Sprintf("wecity_registry_stored_bytes{tenant=%q} %d\n", tenant, used))
		}
		limit := d.accounts.limit(tenant)
		lines = append(lines, fmt.Sprintf("wecity_registry_limit_bytes{tenant=%q} %d\n", tenant, limit))
	}
	slices.Sort(lines)
	w.Header().Set("Content-Type", "text/plain; version=0.0.4")
	fmt.Fprint(w, strings.Join(lines, ""), volumeLines(d.kept.directory))
}
