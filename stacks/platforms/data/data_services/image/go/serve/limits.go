package serve

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"
)

// limits hold how often and how many at a time an account reads, and how many at a time all of a tenant's: sessions of the
// reader are left for those of others.
type limits struct {
	mutex         sync.Mutex
	perTenant     int
	open, tenants map[string]int
	// Of each account and asset, the beginning of its minute and the calls in it.
	minutes map[string]*minute
	now     func() time.Time
}

type minute struct {
	began time.Time
	calls int
}

func newLimits(perTenant int) *limits {
	return &limits{
		perTenant: perTenant, open: map[string]int{}, tenants: map[string]int{}, minutes: map[string]*minute{}, now: time.Now,
	}
}

// begin counts a call, and returns what ends it; or the reason why it is refused.
func (l *limits) begin(who *account, asset name, perMinute int) (end func(), reason string) {
	account := who.Name
	l.mutex.Lock()
	defer l.mutex.Unlock()
	if l.open[account] >= who.AtOnce {
		return nil, fmt.Sprintf("%d calls of the account are answered at a time", who.AtOnce)
	}
	if l.tenants[who.Tenant] >= l.perTenant {
		return nil, fmt.Sprintf("%d calls of a tenant are answered at a time", l.perTenant)
	}
	now, key := l.now(), account+" "+asset.String()
	found := l.minutes[key]
	if found == nil || now.Sub(found.began) >= time.Minute {
		// What was counted before is of no use.
		for other, item := range l.minutes {
			if now.Sub(item.began) >= time.Minute {
				delete(l.minutes, other)
			}
		}
		found = &minute{began: now}
		l.minutes[key] = found
	}
	if found.calls >= perMinute {
		return nil, fmt.Sprintf("%d calls are granted in a minute", perMinute)
	}
	found.calls++
	l.open[account]++
	l.tenants[who.Tenant]++
	return func() {
		l.mutex.Lock()
		defer l.mutex.Unlock()
		if l.open[account]--; l.open[account] == 0 {
			delete(l.open, account)
		}
		if l.tenants[who.Tenant]--; l.tenants[who.Tenant] == 0 {
			delete(l.tenants, who.Tenant)
		}
	}, ""
}

// counters count calls and rows for each consumer. They begin at 0 when the program starts.
type counters struct {
	mutex sync.Mutex
	calls map[[3]string]int64
	rows  map[[2]string]int64
}

func newCounters() *counters {
	return &counters{calls: map[[3]string]int64{}, rows: map[[2]string]int64{}}
}

func (c *counters) add(who *account, outcome string, rows int) {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	tenant, app := who.labels()
	c.calls[[3]string{tenant, app, outcome}]++
	c.rows[[2]string{tenant, app}] += int64(rows)
}

// tell is the text format of metrics. What has not happened yet is 0, so that it can be told from what nobody counts.
func (c *counters) tell(known []account) string {
	calls, rows := map[[3]string]int64{}, map[[2]string]int64{}
	for _, item := range append(known, account{}) {
		tenant, app := item.labels()
		for _, outcome := range []string{served, denied, failing, unavailable} {
			calls[[3]string{tenant, app, outcome}] = 0
		}
		rows[[2]string{tenant, app}] = 0
	}
	c.mutex.Lock()
	defer c.mutex.Unlock()
	var lines []string
	for key := range c.calls {
		calls[key] = c.calls[key]
	}
	for key := range c.rows {
		rows[key] = c.rows[key]
	}
	for key, count := range calls {
		labels := fmt.Sprintf("tenant=%q,app=%q,outcome=%q", key[0], key[1], key[2])
		lines = append(lines, fmt.Sprintf("wecity_data_calls_total{%s} %d\n", labels, count))
	}
	for key, count := range rows {
		lines = append(lines, fmt.Sprintf("wecity_data_rows_total{tenant=%q,app=%q} %d\n", key[0], key[1], count))
	}
	slices.Sort(lines)
	return strings.Join(lines, "")
}
