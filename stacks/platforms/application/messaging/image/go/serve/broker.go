package serve

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"golang.org/x/crypto/bcrypt"
)

// Bytes of the volume that nobody fills: what streams have acknowledged and who has an account still need some.
const reserve = 64 << 20

// A broker is a NATS server with the accounts of apps. Whatever changes accounts holds the mutex.
type broker struct {
	config   config
	accounts *accounts
	server   *server.Server
	// The password of this program's users.
	password string

	mutex   sync.Mutex
	visited map[string]int
	// Accounts that take nothing more, as their streams have too many subjects; the empty name for all of them, as the
	// volume is nearly full.
	closed map[string]bool
}

// openBroker starts a server that takes connections. Administrator is the password of the administrator's user.
func openBroker(config config, known *accounts, administrator string) (*broker, error) {
	word := make([]byte, 24)
	if _, err := rand.Read(word); err != nil {
		return nil, err
	}
	found := &broker{config: config, accounts: known, password: hex.EncodeToString(word), visited: map[string]int{}, closed: map[string]bool{}}
	for password, hash := range map[string]*string{administrator: &found.config.admin, found.password: &found.config.own} {
		text, err := bcrypt.GenerateFromPassword([]byte(password), bcrypt.MinCost)
		if err != nil {
			return nil, err
		}
		*hash = string(text)
	}
	options, err := found.config.options(known.list(), found.visited, nil)
	if err != nil {
		return nil, err
	}
	if found.server, err = server.NewServer(options); err != nil {
		return nil, err
	}
	found.server.ConfigureLogger()
	found.server.Start()
	if !found.server.ReadyForConnections(time.Minute) {
		return nil, errors.New("the server takes no connections")
	}
	return found, nil
}

// reload has the server take over the accounts. Who may no longer be connected is disconnected.
func (b *broker) reload() error {
	options, err := b.config.options(b.accounts.list(), b.visited, b.closed)
	if err != nil {
		return err
	}
	return b.server.ReloadOptions(options)
}

// watch looks every now and then for what the server's own limits do not hold, until the context ends.
func (b *broker) watch(ctx context.Context, period time.Duration) {
	for {
		b.look(volumeFree(b.config.data))
		select {
		case <-ctx.Done():
			return
		case <-time.After(period):
		}
	}
}

// look closes all accounts while fewer than `reserve` bytes of the volume are free, as a server that cannot write ends
// the streams of everybody; and an account whose streams have more subjects than it may have. They are opened again at
// twice as many free bytes, and at half as many subjects.
func (b *broker) look(free int64) {
	b.mutex.Lock()
	defer b.mutex.Unlock()
	closed := map[string]bool{}
	if free < reserve || b.closed[""] && free < 2*reserve {
		closed[""] = true
	}
	for name := range b.accounts.known {
		count, most := b.subjects(name), b.config.subjects
		if count > most || b.closed[name] && count > most/2 {
			closed[name] = true
		}
	}
	if maps.Equal(closed, b.closed) {
		return
	}
	before := b.closed
	b.closed = closed
	if err := b.reload(); err != nil {
		b.server.Errorf("what is closed: %v", err)
		b.closed = before
		return
	}
	b.server.Warnf("with %d bytes of the volume free, these take nothing more (all, if it has an empty name): %q",
		free, slices.Sorted(maps.Keys(closed)))
}

// subjects are how many the streams of an account have together.
func (b *broker) subjects(name string) (count int64) {
	found, err := b.server.JszAccount(&server.JSzOptions{Account: name, Streams: true})
	if err != nil {
		return 0
	}
	for _, stream := range found.Streams {
		count += int64(stream.State.NumSubjects)
	}
	return count
}

// put makes, opens or changes an account.
func (b *broker) put(item Account, password string) error {
	b.mutex.Lock()
	defer b.mutex.Unlock()
	if err := b.accounts.put(item, password, time.Now().Unix()); err != nil {
		return err
	}
	return b.reload()
}

// lock ends the sessions of an account, and lets nobody sign in.
func (b *broker) lock(name, owner string) error {
	b.mutex.Lock()
	defer b.mutex.Unlock()
	if err := b.accounts.lock(name, owner, time.Now().Unix()); err != nil {
		return err
	}
	return b.reload()
}

// remove locks an account and deletes it with its streams. The account goes after its streams, so that what was killed
// in between is listed, and removed by the next try.
func (b *broker) remove(ctx context.Context, name, owner string) error {
	b.mutex.Lock()
	_, is := b.accounts.find(name, owner)
	b.mutex.Unlock()
	if !is {
		return nil
	}
	if err := b.lock(name, owner); err != nil {
		return err
	}
	if err := b.visit(ctx, name, func(stream nats.JetStreamContext, _ *nats.Conn) error { return clear(ctx, stream) }); err != nil {
		return err
	}
	b.mutex.Lock()
	defer b.mutex.Unlock()
	if known, err := b.server.LookupAccount(name); err == nil && known.JetStreamEnabled() {
		if err := known.DisableJetStream(); err != nil {
			return err
		}
	}
	if err := b.accounts.remove(name); err != nil {
		return err
	}
	if err := b.reload(); err != nil {
		return err
	}
	// Empty by now, but for what the server keeps of an account.
	return os.RemoveAll(b.config.directory(name))
}

// visit connects to an account inside the process. That connection is none of those that the account's use may have:
// meanwhile there is one more, which the app may take first, so that a few tries are made.
func (b *broker) visit(ctx context.Context, name string, do func(nats.JetStreamContext, *nats.Conn) error) error {
	count := func(by int) error {
		b.mutex.Lock()
		defer b.mutex.Unlock()
		b.visited[name] += by
		return b.reload()
	}
	if err := count(1); err != nil {
		return err
	}
	defer func() {
		b.gone(name)
		_ = count(-1)
	}()
	var connection *nats.Conn
	var err error
	for try := 0; try < 5; try++ {
		connection, err = nats.Connect("", nats.InProcessServer(b.server), nats.UserInfo(insider(name), b.password),
			nats.NoReconnect(), nats.Name("backup and deletion"))
		if err == nil {
			break
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(time.Second):
		}
	}
	if err != nil {
		return fmt.Errorf("account %s: %w", name, err)
	}
	defer connection.Close()
	stream, err := connection.JetStream(nats.MaxWait(time.Minute))
	if err != nil {
		return err
	}
	return do(stream, connection)
}

// gone waits until this program's connection to an account has left the server: with a limit that is lowered before, the
// server would end one of the app's.
func (b *broker) gone(name string) {
	for range 100 {
		found, err := b.server.Connz(&server.ConnzOptions{Username: true, User: insider(name)})
		if err != nil || found.NumConns == 0 {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// clear deletes all streams of an account.
func clear(ctx context.Context, stream nats.JetStreamContext) error {
	names, err := streamNames(ctx, stream)
	if err != nil {
		return err
	}
	for _, name := range names {
		if err := stream.DeleteStream(name, nats.Context(ctx)); err != nil && !errors.Is(err, nats.ErrStreamNotFound) {
			return fmt.Errorf("stream %s: %w", name, err)
		}
	}
	return nil
}

// streamNames are the names of an account's streams. Unlike the client's list, it tells an answer that failed from none.
func streamNames(ctx context.Context, stream nats.JetStreamContext) ([]string, error) {
	about, err := stream.AccountInfo(nats.Context(ctx))
	if err != nil {
		return nil, err
	}
	var names []string
	for name := range stream.StreamNames(nats.Context(ctx)) {
		names = append(names, name)
	}
	if len(names) < about.Streams {
		return nil, fmt.Errorf("%d of %d streams are listed", len(names), about.Streams)
	}
	return names, nil
}

// usage is what an account takes of the server.
func (b *broker) usage(name string) server.JetStreamAccountStats {
	known, err := b.server.LookupAccount(name)
	if err != nil || !known.JetStreamEnabled() {
		return server.JetStreamAccountStats{}
	}
	return known.JetStreamUsage()
}

// close ends the server after what it has begun to write.
func (b *broker) close() {
	b.server.Shutdown()
	b.server.WaitForShutdown()
}

// place is the file with the accounts on the volume.
func place(directory string) string { return filepath.Join(directory, "accounts.json") }
