package serve

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"
)

const (
	// Requests of an account in a second, and how many at once: changes, and all others.
	changesEach, changesAtOnce = 10, 100
	readsEach, readsAtOnce     = 50, 200
	// Requests of an account that are answered at a time, beside those that wait; changes among them one after the other.
	callsMost = 8
	// Answers with many values that are made at a time: of all, and of a tenant. Each is some MiB of memory until it was read.
	answersMost, tenantsAnswers = 8, 4
)

// limits hold what each account asks at a time and in a second, and wake requests that wait for its changes. They begin anew
// when the program starts.
type limits struct {
	mutex   sync.Mutex
	now     func() time.Time
	buckets map[string]*bucket
	// Requests by what they are and whose, for those that are under way.
	open map[string]int
	// Those that wait for their turn.
	queues map[string]*queue
	// Of each account for which somebody waits, what is closed with its next change.
	waiting map[string]chan struct{}
	// Of metrics: by tenant and app.
	changed, refused map[[2]string]int64
}

// A bucket has a token for each request that may come now.
type bucket struct {
	tokens float64
	at     time.Time
}

func newLimits() *limits {
	return &limits{
		now: time.Now, buckets: map[string]*bucket{}, open: map[string]int{}, queues: map[string]*queue{}, waiting: map[string]chan struct{}{},
		changed: map[[2]string]int64{}, refused: map[[2]string]int64{},
	}
}

// may is whether an account may ask once more, for `what` that may be asked `each` times in a second.
func (l *limits) may(who *account, what string, each, atOnce int) bool {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	now, key := l.now(), what+" "+who.Name
	found := l.buckets[key]
	if found == nil {
		found = &bucket{float64(atOnce), now}
		l.buckets[key] = found
	}
	found.tokens = min(float64(atOnce), found.tokens+now.Sub(found.at).Seconds()*float64(each))
	found.at = now
	if found.tokens < 1 {
		return false
	}
	found.tokens--
	return true
}

// begin counts a request until the returned function ends it; nil if there are as many as may be.
func (l *limits) begin(key string, most int) func() {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	if l.open[key] >= most {
		return nil
	}
	l.open[key]++
	return func() {
		l.mutex.Lock()
		defer l.mutex.Unlock()
		if l.open[key]--; l.open[key] == 0 {
			delete(l.open, key)
		}
	}
}

// A queue lets so many on at a time as its channel holds. Users are those in it, and those that were let on.
type queue struct {
	places chan struct{}
	users  int
}

// hold lets a request on as soon as there are fewer than may be, until the returned function ends it; nil if the context
// ends before. `most` is the same for all of a key.
func (l *limits) hold(ctx context.Context, key string, most int) func() {
	l.mutex.Lock()
	found := l.queues[key]
	if found == nil {
		found = &queue{places: make(chan struct{}, most)}
		l.queues[key] = found
	}
	found.users++
	l.mutex.Unlock()
	leave := func() {
		l.mutex.Lock()
		defer l.mutex.Unlock()
		if found.users--; found.users == 0 {
			delete(l.queues, key)
		}
	}
	select {
	case found.places <- struct{}{}:
		return func() {
			<-found.places
			leave()
		}
	case <-ctx.Done():
		leave()
		return nil
	}
}

// refuse counts a request that is beyond a limit.
func (l *limits) refuse(who *account) {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	l.count(l.refused, who)
}

func (l *limits) count(of map[[2]string]int64, who *account) {
	tenant, app := who.labels()
	of[[2]string{tenant, app}]++
}

// told counts a change of an account and wakes those who wait for it.
func (l *limits) told(who *account) {
	l.mutex.Lock()
	l.count(l.changed, who)
	l.mutex.Unlock()
	l.wake(who.Name)
}

// next is closed with the next change of an account.
func (l *limits) next(name string) <-chan struct{} {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	if l.waiting[name] == nil {
		l.waiting[name] = make(chan struct{})
	}
	return l.waiting[name]
}

// wake has those who wait for an account look again: its values, its password or its lock has changed.
func (l *limits) wake(name string) {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	if found := l.waiting[name]; found != nil {
		close(found)
		delete(l.waiting, name)
	}
}

// tell is the text format of metrics.
func (l *limits) tell(known []used) string {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	var lines []string
	changed, refused := map[[2]string]int64{}, map[[2]string]int64{}
	for _, item := range known {
		tenant, app := item.labels()
		labels := fmt.Sprintf("{account=%q,tenant=%q,app=%q}", item.Name, tenant, app)
		for name, value := range map[string]int64{
			"keys": item.Keys, "value_bytes": item.ValueBytes, "bytes": item.Bytes, "limit_bytes": item.Storage,
			"waiting": int64(l.open[waits+item.Name]), "waiting_limit": int64(item.Connections),
		} {
			lines = append(lines, fmt.Sprintf("wecity_configuration_%s%s %d\n", name, labels, value))
		}
		// What has not happened yet is 0, so that it can be told from what nobody counts.
		changed[[2]string{tenant, app}], refused[[2]string{tenant, app}] = 0, 0
	}
	for name, sums := range map[string][2]map[[2]string]int64{"changes": {changed, l.changed}, "refused": {refused, l.refused}} {
		for key, count := range sums[1] {
			sums[0][key] = count
		}
		for key, count := range sums[0] {
			lines = append(lines, fmt.Sprintf("wecity_configuration_%s_total{tenant=%q,app=%q} %d\n", name, key[0], key[1], count))
		}
	}
	slices.Sort(lines)
	return strings.Join(lines, "")
}
