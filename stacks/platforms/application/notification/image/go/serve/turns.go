package serve

import (
	"context"
	"sync"
)

// Requests of an account that are at the database at a time. They wait for each other in its row there, and would
// otherwise take the connections of all.
const turnsEach = 2

// turns let the requests of each account wait for each other, and for no other's.
type turns struct {
	mutex sync.Mutex
	open  map[string]*turn
}

type turn struct {
	places chan struct{}
	users  int
}

func newTurns() *turns { return &turns{open: map[string]*turn{}} }

// take waits for a place of an account, and returns what gives it back; nil if the context ends before.
func (t *turns) take(ctx context.Context, account string) func() {
	t.mutex.Lock()
	found := t.open[account]
	if found == nil {
		found = &turn{places: make(chan struct{}, turnsEach)}
		t.open[account] = found
	}
	found.users++
	t.mutex.Unlock()
	leave := func() {
		t.mutex.Lock()
		defer t.mutex.Unlock()
		if found.users--; found.users == 0 {
			delete(t.open, account)
		}
	}
	select {
	case found.places <- struct{}{}:
		return func() { <-found.places; leave() }
	case <-ctx.Done():
		leave()
		return nil
	}
}
