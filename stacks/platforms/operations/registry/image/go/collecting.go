package main

import (
	"context"
	"errors"
	"log"
	"syscall"
	"time"
)

// settled is how long nothing may have been pushed before garbage is collected by itself: the layers of an image come
// before its manifest, and would go as what no manifest names. Where the volume is nearly full it is hurried: a client
// whose layers go sends them again, and all that is pushed to a full volume is refused.
const settled, hurried = 15 * time.Minute, time.Minute

// collectWhenIdle collects garbage when something was pushed or deleted and nothing is being pushed.
func (d *door) collectWhenIdle(ctx context.Context) {
	ticks := time.NewTicker(hurried)
	defer ticks.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticks.C:
		}
		if d.isDue() {
			if _, err := d.collect(ctx); err != nil && !errors.Is(err, errPushing) && !errors.Is(err, errCopying) {
				log.Printf("garbage is not collected: %v", err)
			}
		}
	}
}

// isDue is whether garbage is to be collected now, unless something is being pushed.
func (d *door) isDue() bool {
	enough := settled
	if d.kept.isShort() {
		enough = hurried
	}
	return d.counters.dirty() && d.counters.idle(enough)
}

var errPushing = errors.New("something is being pushed: try again later")

// collect does not wait for pushes, as all others would wait with it: one that stalls would hold up everybody.
func (d *door) collect(ctx context.Context) (int64, error) {
	if !d.pushing.TryLock() {
		return 0, errPushing
	}
	defer d.pushing.Unlock()
	if !d.kept.content.TryLock() {
		return 0, errCopying
	}
	defer d.kept.content.Unlock()
	freed, err := d.kept.collect(ctx)
	if err == nil {
		d.counters.collected()
	}
	return freed, err
}

// statfs is how many bytes are free below a directory, and how many there are; 0 if that is not known.
func statfs(directory string) (free, size int64) {
	var found syscall.Statfs_t
	if syscall.Statfs(directory, &found) != nil {
		return 0, 0
	}
	return int64(found.Bavail) * int64(found.Bsize), int64(found.Blocks) * int64(found.Bsize)
}

// recent is how long a count of bytes on the volume holds; what came since is added.
const recent = 10 * time.Second
