package serve

import (
	"context"
	"sync"
)

// Requests of an account, or of an address that has not signed in yet, that are at the database at a time. Those of an
// account wait for each other in its row there, and would otherwise take the connections of all.
const turnsEach = 2

// turns let the requests of each account wait for each other, and for no other's; and so those of each address.
type turns struct {
	mutex sync.Mutex
	open  map[string]*turn
}

type turn struct {
	places chan struct{}
	users  int
}

func newTurns() *turns { return &turns{open: map[string]*turn{}} }

// take waits for a place of `whose`, and returns what gives it back; nil if the context ends before.
func (t *turns) take(ctx context.Context, whose string) func() {
	t.mutex.Lock()
	found := t.open[whose]
	if found == nil {
		found = &turn{places: make(chan struct{}, turnsEach)}
		t.open[whose] = found
	}
	found.users++
	t.mutex.Unlock()
	leave := func() {
		t.mutex.Lock()
		defer t.mutex.Unlock()
		if found.users--; found.users == 0 {
			delete(t.open, whose)
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
