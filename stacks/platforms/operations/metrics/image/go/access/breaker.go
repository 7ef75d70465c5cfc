package main

import (
	"encoding/json"
	"os"
	"sync"
	"time"
)

// How long a tenant is kept out at first, twice as long each time after that, and at the most. It is forgotten when
// nothing has happened for as long as that.
const firstWait, longestWait = time.Minute, 24 * time.Hour

// breaker keeps tenants out for a while whose queries were running when the server ended.
//
// No setting of the server bounds all the memory that a query takes: labels that are doubled again and again, or a
// union of thousands of series. Whoever asks such a query once more each time the server is up again would keep the server
// from answering everybody. Others whose queries ran beside it wait a minute. The images of logs and metrics
// have the same file.
type breaker struct {
	mutex  sync.Mutex
	struck map[string]strike
	now    func() time.Time
	// Where it is kept, for a program that ends with the server; empty: nowhere.
	path string
}

type strike struct {
	At   time.Time     `json:"at"`
	Wait time.Duration `json:"wait"`
}

// newBreaker reads what is kept. A file that cannot be read keeps nobody out.
func newBreaker(path string) *breaker {
	made := &breaker{struck: map[string]strike{}, now: time.Now, path: path}
	if text, err := os.ReadFile(path); path != "" && err == nil {
		_ = json.Unmarshal(text, &made.struck)
	}
	if made.struck == nil {
		made.struck = map[string]strike{}
	}
	return made
}

// left is how long a tenant has to wait.
func (b *breaker) left(tenant string) time.Duration {
	b.mutex.Lock()
	defer b.mutex.Unlock()
	item := b.struck[tenant]
	// No longer than that, whatever a clock has jumped.
	return min(item.Wait, max(0, item.At.Add(item.Wait).Sub(b.now())))
}

// strike keeps a tenant out. Several queries of it that end with the server count once.
func (b *breaker) strike(tenant string) {
	b.mutex.Lock()
	defer b.mutex.Unlock()
	now, item := b.now(), b.struck[tenant]
	passed := now.Sub(item.At.Add(item.Wait))
	switch {
	case item.Wait == 0 || passed > longestWait:
		item.Wait = firstWait
	case passed < 0:
		return
	default:
		item.Wait = min(2*item.Wait, longestWait)
	}
	item.At = now
	b.struck[tenant] = item
	if text, err := json.Marshal(b.struck); b.path != "" && err == nil {
		_ = os.WriteFile(b.path, text, 0o600)
	}
}
