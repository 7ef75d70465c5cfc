package serve

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
)

const (
	eve, bob = "health.code.events", "transport.bus.events"
	password = "a password of an app"
)

func opened(t *testing.T, directory string) *broker {
	t.Helper()
	known, err := openAccounts(place(directory), 64<<20, 8<<20)
	if err != nil {
		t.Fatal(err)
	}
	found, err := openBroker(config{listen: "127.0.0.1:-1", data: directory, connections: 100, subjects: 10}, known, "administrator's word")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(found.close)
	return found
}

func (b *broker) with(t *testing.T, name string, storage int64, word string) {
	t.Helper()
	owner := strings.ReplaceAll(name, ".", "/")
	item := Account{Name: name, Owner: owner, Connections: 3, Storage: storage, Memory: 1 << 20}
	if err := b.put(item, word); err != nil {
		t.Fatal(err)
	}
}

func (b *broker) connect(name, word string) (*nats.Conn, error) {
	return nats.Connect(b.server.ClientURL(), nats.UserInfo(name, word), nats.NoReconnect())
}

func (b *broker) client(t *testing.T, name, word string) (*nats.Conn, nats.JetStreamContext) {
	t.Helper()
	found, err := b.connect(name, word)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(found.Close)
	stream, err := found.JetStream()
	if err != nil {
		t.Fatal(err)
	}
	return found, stream
}

func within(t *testing.T, what string, check func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); !check(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("it did not come to that: ", what)
		}
	}
}

func must[T any](t *testing.T) func(T, error) T {
	return func(value T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return value
	}
}

// An account's session lives on when its Job runs again, and ends when its password is another or it is locked.
func TestSessions(t *testing.T) {
	b := opened(t, t.TempDir())
	b.with(t, eve, 1<<20, password)
	b.with(t, bob, 1<<20, password)
	first, _ := b.client(t, eve, password)
	other, _ := b.client(t, bob, password)
	b.with(t, eve, 2<<20, password)
	if err := first.FlushTimeout(time.Second); err != nil || first.IsClosed() {
		t.Fatal("the session has ended: ", err)
	}
	b.with(t, eve, 2<<20, "another password of it")
	within(t, "the session with the old password ends", first.IsClosed)
	if _, err := b.connect(eve, password); !errors.Is(err, nats.ErrAuthorization) {
		t.Fatal("the old password: ", err)
	}
	second, _ := b.client(t, eve, "another password of it")
	if err := b.lock(eve, "health/code/others"); err != nil || second.IsClosed() {
		t.Fatal("it was locked for another owner: ", err)
	}
	if err := b.lock(eve, "health/code/events"); err != nil {
		t.Fatal(err)
	}
	within(t, "the session of a locked account ends", second.IsClosed)
	if _, err := b.connect(eve, "another password of it"); !errors.Is(err, nats.ErrAuthorization) {
		t.Fatal("a locked account: ", err)
	}
	if err := other.FlushTimeout(time.Second); err != nil {
		t.Fatal("the neighbour: ", err)
	}
	item := Account{Name: bob, Owner: "health/code/events", Connections: 1, Storage: 1}
	if err := b.put(item, password); !errors.Is(err, errOwner) {
		t.Fatal("an account of another owner: ", err)
	}
}

// The limits of all accounts together are within what there is; what the app may have is the server's to hold.
func TestLimits(t *testing.T) {
	b := opened(t, t.TempDir())
	b.with(t, eve, 1<<20, password)
	_, stream := b.client(t, eve, password)
	must[*nats.StreamInfo](t)(stream.AddStream(&nats.StreamConfig{Name: "files", Subjects: []string{"files.>"}}))
	var err error
	for range 100 {
		if _, err = stream.Publish("files.a", make([]byte, 64<<10)); err != nil {
			break
		}
	}
	if err == nil || !strings.Contains(err.Error(), "resource limits exceeded") {
		t.Fatal("more than the limit: ", err)
	}
	b.with(t, eve, 4<<20, password)
	must[*nats.PubAck](t)(stream.Publish("files.a", make([]byte, 64<<10)))
	// On a volume that is nearly full.
	for _, one := range []struct {
		free int64
		full bool
	}{{reserve, false}, {reserve - 1, true}, {2*reserve - 1, true}, {2 * reserve, false}} {
		b.look(one.free)
		if _, err := stream.Publish("files.a", []byte("small")); (err != nil) != one.full {
			t.Error(one.free, " bytes are free: ", err)
		}
		must[*nats.RawStreamMsg](t)(stream.GetMsg("files", 1))
	}
	b.look(0)
	if err := stream.PurgeStream("files"); err != nil {
		t.Error("making room: ", err)
	}
	b.look(2 * reserve)
	// With more subjects than it may have.
	for number := range 12 {
		must[*nats.PubAck](t)(stream.Publish(fmt.Sprint("files.", number), nil))
	}
	b.look(2 * reserve)
	if _, err := stream.Publish("files.12", nil); err == nil {
		t.Error("it takes more subjects than there may be")
	}
	if err := stream.PurgeStream("files"); err != nil {
		t.Error("making room: ", err)
	}
	b.look(2 * reserve)
	must[*nats.PubAck](t)(stream.Publish("files.12", nil))
	in_memory := nats.StreamConfig{Name: "memory", Subjects: []string{"memory"}, Storage: nats.MemoryStorage, MaxBytes: 2 << 20}
	if _, err := stream.AddStream(&in_memory); err == nil {
		t.Fatal("a stream in memory that is larger than the limit")
	}
	b.client(t, eve, password)
	b.client(t, eve, password)
	if _, err := b.connect(eve, password); err == nil || !strings.Contains(err.Error(), "maximum account active connections") {
		t.Fatal("a fourth connection: ", err)
	}
	err = b.put(Account{Name: bob, Owner: "transport/bus/events", Connections: 1, Storage: 61 << 20}, password)
	if err == nil || !strings.Contains(err.Error(), "the limits of storage of all accounts come to 68157440 bytes, and there are 67108864") {
		t.Fatal("limits beyond the volume: ", err)
	}
	for _, item := range []Account{
		{Name: "admin", Owner: "a/b/c", Connections: 1, Storage: 1},
		{Name: "a..b c", Owner: "a/b/c", Connections: 1, Storage: 1},
		{Name: bob, Owner: "transport", Connections: 1, Storage: 1},
		{Name: bob, Owner: "transport/bus/events", Connections: 1, Storage: -1},
	} {
		if b.put(item, password) == nil {
			t.Error("it was made: ", item)
		}
	}
}

// A copy has messages with their sequences and consumers with what they have acknowledged, and is refused where it is cut.
func TestCopies(t *testing.T) {
	b, ctx := opened(t, t.TempDir()), context.Background()
	b.with(t, eve, 16<<20, password)
	_, stream := b.client(t, eve, password)
	for name, storage := range map[string]nats.StorageType{"files": nats.FileStorage, "memory": nats.MemoryStorage} {
		must[*nats.StreamInfo](t)(stream.AddStream(&nats.StreamConfig{Name: name, Subjects: []string{name + ".>"}, Storage: storage}))
		for number := range 20 {
			content := fmt.Sprint(number, strings.Repeat(name, 2000))
			must[*nats.PubAck](t)(stream.Publish(name+".a", []byte(content)))
		}
	}
	must[*nats.ConsumerInfo](t)(stream.AddConsumer("files", &nats.ConsumerConfig{Durable: "reader", AckPolicy: nats.AckExplicitPolicy}))
	reading := must[*nats.Subscription](t)(stream.PullSubscribe("files.>", "reader", nats.Bind("files", "reader")))
	for _, message := range must[[]*nats.Msg](t)(reading.Fetch(5)) {
		if err := message.AckSync(); err != nil {
			t.Fatal(err)
		}
	}
	if err := stream.DeleteMsg("files", 7); err != nil {
		t.Fatal(err)
	}
	// All connections are the app's own: copies are made nevertheless.
	b.client(t, eve, password)
	b.client(t, eve, password)
	var copied bytes.Buffer
	if err := b.dump(ctx, b.accounts.known[eve], &copied); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(copied.String(), "$2a$") {
		t.Error("the copy has the hash of a password")
	}
	if _, err := b.connect(eve, password); err == nil {
		t.Error("the connection of the copy is the app's afterwards")
	}
	must[*nats.PubAck](t)(stream.Publish("files.a", []byte("younger")))
	if err := b.restore(ctx, eve, "health/code/events", bytes.NewReader(copied.Bytes()), false); !errors.Is(err, errOccupied) {
		t.Fatal("streams that are there: ", err)
	}
	check := func(name string) {
		t.Helper()
		_, stream := b.client(t, name, password)
		about := must[*nats.StreamInfo](t)(stream.StreamInfo("files"))
		if about.State.Msgs != 19 || about.State.LastSeq != 20 {
			t.Error("the stream has ", about.State)
		}
		if found := must[*nats.StreamInfo](t)(stream.StreamInfo("memory")); found.State.Msgs != 20 {
			t.Error("the stream in memory has ", found.State)
		}
		reading := must[*nats.Subscription](t)(stream.PullSubscribe("files.>", "reader", nats.Bind("files", "reader")))
		messages := must[[]*nats.Msg](t)(reading.Fetch(2))
		if !bytes.HasPrefix(messages[0].Data, []byte("5files")) || !bytes.HasPrefix(messages[1].Data, []byte("7files")) {
			t.Errorf("after what was acknowledged comes %.8q, %.8q", messages[0].Data, messages[1].Data)
		}
	}
	b.lock(eve, "health/code/events")
	b.with(t, eve, 16<<20, password)
	if err := b.restore(ctx, eve, "health/code/events", bytes.NewReader(copied.Bytes()), true); err != nil {
		t.Fatal(err)
	}
	check(eve)
	// Of a neighbour that is not there yet: it is locked until its app has a password.
	if err := b.restore(ctx, bob, "transport/bus/events", bytes.NewReader(copied.Bytes()), false); err != nil {
		t.Fatal(err)
	}
	if item := b.accounts.known[bob]; item.Hash != "" || item.Locked == 0 || item.Storage != 16<<20 {
		t.Error("the account that was restored is ", item)
	}
	b.with(t, bob, 16<<20, password)
	check(bob)
	for _, cut := range []int{0, 10, 500, copied.Len() - 20} {
		err := b.restore(ctx, bob, "transport/bus/events", bytes.NewReader(copied.Bytes()[:cut]), true)
		if !errors.Is(err, errCopy) {
			t.Error("a copy of ", cut, " bytes: ", err)
		}
	}
}

// Nothing of a deleted account is there for one of the same name, and what was acknowledged is there after a restart.
func TestDeletion(t *testing.T) {
	directory, ctx := t.TempDir(), context.Background()
	b := opened(t, directory)
	for _, name := range []string{eve, bob} {
		b.with(t, name, 4<<20, password)
		_, stream := b.client(t, name, password)
		must[*nats.StreamInfo](t)(stream.AddStream(&nats.StreamConfig{Name: "files", Subjects: []string{"files"}}))
		must[*nats.PubAck](t)(stream.Publish("files", []byte("of "+name)))
	}
	if err := b.remove(ctx, eve, "health/code/others"); err != nil {
		t.Fatal(err)
	}
	if b.usage(eve).Streams != 1 {
		t.Fatal("another owner's account was deleted")
	}
	for range 2 {
		if err := b.remove(ctx, eve, "health/code/events"); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := os.Stat(filepath.Join(directory, "jetstream", eve)); !os.IsNotExist(err) {
		t.Error("its directory: ", err)
	}
	b.with(t, eve, 4<<20, password)
	_, stream := b.client(t, eve, password)
	if _, err := stream.StreamInfo("files"); !errors.Is(err, nats.ErrStreamNotFound) {
		t.Error("the stream of a deleted account: ", err)
	}
	must[*nats.StreamInfo](t)(stream.AddStream(&nats.StreamConfig{Name: "again", Subjects: []string{"again"}}))
	b.close()
	b = opened(t, directory)
	_, stream = b.client(t, bob, password)
	if found := must[*nats.RawStreamMsg](t)(stream.GetMsg("files", 1)); string(found.Data) != "of "+bob {
		t.Errorf("after a restart the message is %q", found.Data)
	}
	_, stream = b.client(t, eve, password)
	must[*nats.StreamInfo](t)(stream.StreamInfo("again"))
	page := httptest.NewRecorder()
	b.tell(page)
	for _, line := range []string{
		`wecity_messaging_streams{account="transport.bus.events",tenant="transport",app="bus"} 1`,
		`wecity_messaging_stored_limit_bytes{account="health.code.events",tenant="health",app="code"} 4194304`,
		"wecity_volume_bytes_size ",
	} {
		if !strings.Contains(page.Body.String(), line) {
			t.Errorf("%s is not in %s", line, page.Body)
		}
	}
}

func TestVersions(t *testing.T) {
	directory := t.TempDir()
	for _, one := range []struct{ found, refusal string }{
		{"", ""},
		{"2.15.0", ""},
		{"2.14.6", ""},
		{"2.16.0", "an older server does not open the data of a newer one"},
		{"3.1.0", "an older server does not open the data of a newer one"},
		{"2.12.8", "bring up 2.14 first"},
		{"two", "is no version"},
	} {
		if one.found != "" {
			if err := os.WriteFile(filepath.Join(directory, "version"), []byte(one.found+"\n"), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		err := checkVersion(directory, "2.15.3")
		text, _ := os.ReadFile(filepath.Join(directory, "version"))
		switch {
		case one.refusal == "" && (err != nil || string(text) != "2.15.3\n"):
			t.Errorf("%q: %v, and the volume is of %q", one.found, err, text)
		case one.refusal != "" && (err == nil || !strings.Contains(err.Error(), one.refusal)):
			t.Errorf("%q: %v", one.found, err)
		case one.refusal != "" && string(text) != one.found+"\n":
			t.Errorf("%q: the volume became one of %q", one.found, text)
		}
	}
	if !strings.HasPrefix(Version, "2.15.") {
		t.Errorf("the server is %s: the version before is another than %s", Version, before)
	}
}
