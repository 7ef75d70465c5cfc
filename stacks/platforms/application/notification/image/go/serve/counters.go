package serve

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
)

// counters count tries by tenant, app, channel and outcome. They begin at 0 when the program starts.
type counters struct {
	mutex sync.Mutex
	tries map[[4]string]int64
}

func newCounters() *counters { return &counters{tries: map[[4]string]int64{}} }

// labels are those of an app in metrics; both are empty for capabilities of the city and for the probe.
func labels(tenant, app string) (string, string) {
	if tenant == "capability" {
		return "", ""
	}
	return tenant, app
}

func (c *counters) add(item *message, outcome string) {
	if item.Account == prober {
		return
	}
	c.mutex.Lock()
	defer c.mutex.Unlock()
	tenant, app := labels(item.Tenant, item.App)
	c.tries[[4]string{tenant, app, item.Channel, outcome}]++
}

// metrics is the text format of metrics. What has not happened yet is 0, so that it can be told from what nobody counts.
func (d *door) metrics(ctx context.Context) (string, error) {
	waits, err := d.store.waiting(ctx)
	if err != nil {
		return "", err
	}
	tries, lines := map[[4]string]int64{}, []string{}
	queues, ages := map[[2]string]int64{}, map[[2]string]float64{}
	for _, item := range append(waits, waiting{}) {
		tenant, app := labels(item.Tenant, item.App)
		for channel := range d.shown {
			for _, outcome := range []string{sent, failed, retried} {
				tries[[4]string{tenant, app, channel, outcome}] = 0
			}
		}
		key := [2]string{tenant, app}
		queues[key], ages[key] = queues[key]+item.Count, max(ages[key], item.Seconds)
	}
	d.counters.mutex.Lock()
	for key, count := range d.counters.tries {
		tries[key] = count
	}
	d.counters.mutex.Unlock()
	for key, count := range tries {
		lines = append(lines, fmt.Sprintf("wecity_notification_tries_total{tenant=%q,app=%q,channel=%q,outcome=%q} %d\n",
			key[0], key[1], key[2], key[3], count))
	}
	for key, count := range queues {
		lines = append(lines,
			fmt.Sprintf("wecity_notification_queued{tenant=%q,app=%q} %d\n", key[0], key[1], count),
			fmt.Sprintf("wecity_notification_oldest_seconds{tenant=%q,app=%q} %.0f\n", key[0], key[1], ages[key]))
	}
	slices.Sort(lines)
	return strings.Join(lines, ""), nil
}
