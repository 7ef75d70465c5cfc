package serve

import (
	"context"
	"fmt"
	"log"
	"strings"
	"sync"
	"time"
	"unicode"

	"github.com/jackc/pgx/v5/pgxpool"
)

const (
	// Messages that a channel sends at a time. An account has at most atOnceMost of them.
	channelWorkers = 64
	// How often the queue is looked at, beside when a message has come or gone.
	look = time.Second
	// The longest pause between two tries.
	pauseMost  = time.Hour
	reasonMost = 300
)

// A sender sends what is queued, channel by channel, so that a channel whose server is away keeps no other waiting.
type sender struct {
	store    *store
	channels map[string]channel
	counters *counters
	// The pause after the first try, which grows; when a message is given up.
	pause, patience time.Duration
	// Told when a message has come.
	wake map[string]chan struct{}
}

func newSender(store *store, channels map[string]channel, counters *counters, pause, patience time.Duration) *sender {
	made := &sender{store, channels, counters, pause, patience, map[string]chan struct{}{}}
	for name := range channels {
		made.wake[name] = make(chan struct{}, 1)
	}
	return made
}

// told says that a channel has a message.
func (s *sender) told(channel string) {
	select {
	case s.wake[channel] <- struct{}{}:
	default:
	}
}

// run sends until the context ends. At most one program does at a time: the one whose connection has the lock, which the
// database gives to another when that connection ends.
func (s *sender) run(ctx context.Context) {
	for ctx.Err() == nil {
		if err := s.lead(ctx); err != nil && ctx.Err() == nil {
			log.Printf("sending waits: %.500q", err.Error())
		}
		rest(ctx, look)
	}
}

// lead sends as long as it has the lock.
func (s *sender) lead(ctx context.Context) error {
	connection, err := s.store.pool.Acquire(ctx)
	if err != nil {
		return err
	}
	var is bool
	if err := connection.QueryRow(ctx, `SELECT pg_try_advisory_lock($1)`, senderLock).Scan(&is); err != nil || !is {
		connection.Release()
		return err
	}
	// The connection ends with the lock, which no other user of the pool gets with it.
	defer func() { _ = connection.Hijack().Close(context.Background()) }()
	if err := s.store.release(ctx); err != nil {
		return err
	}
	held, end := context.WithCancel(ctx)
	defer end()
	var group sync.WaitGroup
	for name, item := range s.channels {
		group.Go(func() { s.serve(held, end, name, item) })
	}
	err = hold(held, connection)
	end()
	group.Wait()
	return err
}

// hold returns when the connection that has the lock is broken, or the context ends.
func hold(ctx context.Context, connection *pgxpool.Conn) error {
	for {
		if !rest(ctx, 2*time.Second) {
			return nil
		}
		within, cancel := context.WithTimeout(ctx, 5*time.Second)
		err := connection.Ping(within)
		cancel()
		if err != nil {
			return err
		}
	}
}

// serve sends what is queued for a channel. Who leads no longer begins nothing, and waits for what has begun.
//
// `end` gives the lead up, to take it anew: what the database may have been told and has not answered is then released.
func (s *sender) serve(ctx context.Context, end func(), name string, through channel) {
	var mutex sync.Mutex
	var group sync.WaitGroup
	running, all := map[string]int{}, 0
	for ctx.Err() == nil {
		mutex.Lock()
		free, own := channelWorkers-all, make(map[string]int, len(running))
		for account, count := range running {
			own[account] = count
		}
		mutex.Unlock()
		var found []message
		if free > 0 {
			var err error
			if found, err = s.store.claim(ctx, name, own, free); err != nil && ctx.Err() == nil {
				log.Printf("queue of %s: %.500q", name, err.Error())
				end()
			}
		}
		for _, item := range found {
			mutex.Lock()
			running[item.Account]++
			all++
			mutex.Unlock()
			group.Go(func() {
				outcome, err := s.try(&item, through)
				if err != nil {
					log.Printf("what has come of message %s could not be written: %.500q", item.ID, err.Error())
					end()
				}
				if outcome == retried {
					// Many messages for a server that is away are not all tried in one moment.
					rest(ctx, look)
				}
				mutex.Lock()
				if running[item.Account]--; running[item.Account] == 0 {
					delete(running, item.Account)
				}
				all--
				mutex.Unlock()
				s.told(name)
			})
		}
		select {
		case <-ctx.Done():
		case <-s.wake[name]:
		case <-time.After(look):
		}
	}
	group.Wait()
}

// try sends a message once and writes what has come of it. What has begun goes on when the server ends, within its time.
// It returns what has come of it; the error is that of the database.
func (s *sender) try(item *message, through channel) (outcome string, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), attempt)
	err = through.send(ctx, item)
	cancel()
	_, isKept := through.(sink)
	outcome = sent
	write := func(ctx context.Context) error { return s.store.end(ctx, item, sent, "", isKept) }
	if err != nil {
		pause := pauseAfter(s.pause, item.Tries)
		reason := shorten(err.Error())
		outcome = retried
		write = func(ctx context.Context) error { return s.store.postpone(ctx, item, reason, pause) }
		if isPermanent(err) || time.Since(item.Accepted)+pause > s.patience {
			outcome = failed
			write = func(ctx context.Context) error { return s.store.end(ctx, item, failed, reason, false) }
		}
		log.Printf("message %s of %s/%s by %s: %s after try %d: %q", item.ID, item.Tenant, item.App, item.Channel, outcome,
			item.Tries, reason)
	}
	// A message that was sent and is not written down would be sent again: the database may be away for a moment.
	for left := 5; ; left-- {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		err = write(ctx)
		cancel()
		if err == nil || left == 0 {
			break
		}
		time.Sleep(time.Second)
	}
	s.counters.add(item, outcome)
	return outcome, err
}

// pauseAfter is how long a message rests after so many tries: twice as long each time, up to an hour.
func pauseAfter(first time.Duration, tries int) time.Duration {
	pause := first
	for ; tries > 1 && pause < pauseMost; tries-- {
		pause *= 2
	}
	return min(pause, max(pauseMost, first))
}

// shorten makes a reason that is told to apps of what a server has said: printable, and not long.
func shorten(text string) string {
	text = strings.Map(func(char rune) rune {
		if unicode.IsPrint(char) {
			return char
		}
		return ' '
	}, strings.ToValidUTF8(text, "?"))
	if len(text) > reasonMost {
		text = strings.ToValidUTF8(text[:reasonMost], "") + fmt.Sprintf("… (%d bytes)", len(text))
	}
	return text
}

// rest waits, and returns whether the context still goes on.
func rest(ctx context.Context, pause time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(pause):
		return true
	}
}
