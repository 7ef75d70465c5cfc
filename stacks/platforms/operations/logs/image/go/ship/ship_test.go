package ship

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"
)

// A node is what the API server says of one pod and its logs. The real one is met by the tests on a real node; here
// are the moments that it does not give at will.
type node struct {
	mutex   sync.Mutex
	pod     map[string]any
	logs    map[string][]string // by what was asked for: "current" or "previous"
	open    bool                // whether the log that is followed stays open
	changed chan struct{}
}

func (n *node) set(change func()) {
	n.mutex.Lock()
	defer n.mutex.Unlock()
	change()
	close(n.changed)
	n.changed = make(chan struct{})
}

func (n *node) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	query := r.URL.Query()
	flush := w.(http.Flusher).Flush
	switch {
	case strings.HasSuffix(r.URL.Path, "/log"):
		name := "current"
		if query.Get("previous") != "" {
			name = "previous"
		}
		sent := 0
		for {
			n.mutex.Lock()
			lines, open, changed := n.logs[name], n.open && name == "current", n.changed
			n.mutex.Unlock()
			if lines == nil {
				http.Error(w, "previous terminated container not found", http.StatusBadRequest)
				return
			}
			for ; sent < len(lines); sent++ {
				// The API takes whole seconds.
				since, _ := time.Parse(time.RFC3339, query.Get("sinceTime"))
				if at, err := time.Parse(time.RFC3339Nano, lines[sent][:30]); err != nil || !at.Before(since) {
					_, _ = io.WriteString(w, lines[sent]+"\n")
				}
			}
			flush()
			if !open {
				return
			}
			select {
			case <-changed:
			case <-r.Context().Done():
				return
			}
		}
	case query.Get("watch") != "":
		for {
			n.mutex.Lock()
			pod, changed := n.pod, n.changed
			n.mutex.Unlock()
			event := map[string]any{"type": "MODIFIED", "object": pod}
			if pod["gone"] != nil {
				event["type"] = "DELETED"
			}
			_ = json.NewEncoder(w).Encode(event)
			flush()
			select {
			case <-changed:
			case <-r.Context().Done():
				return
			}
		}
	default:
		n.mutex.Lock()
		defer n.mutex.Unlock()
		_ = json.NewEncoder(w).Encode(map[string]any{"metadata": map[string]any{}, "items": []any{n.pod}})
	}
}

func podOf(container string, restarts int, running bool) map[string]any {
	state := map[string]any{"terminated": map[string]any{}}
	if running {
		state = map[string]any{"running": map[string]any{}}
	}
	return map[string]any{
		"metadata": map[string]any{
			"name": "web-0", "namespace": "parks-internet", "uid": "u1",
			"labels": map[string]string{
				"app.kubernetes.io/name": "wishes", "app.kubernetes.io/component": "web",
				// What a pod says of a tenant is not heard.
				"wecity.dev/tenant": "health", "tenant": "health",
			},
		},
		"status": map[string]any{"containerStatuses": []any{map[string]any{
			"name": "web", "containerID": container, "restartCount": restarts, "state": state,
		}}},
	}
}

// A kept is what the store has: the lines in order.
type kept struct {
	mutex    sync.Mutex
	entries  []map[string]string
	instance string
	refuse   bool
}

func (k *kept) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	k.mutex.Lock()
	defer k.mutex.Unlock()
	w.Header().Set(instanceHeader, k.instance)
	if name, password, _ := r.BasicAuth(); name != "shipper" || password != "secret" {
		http.Error(w, "who is it", http.StatusUnauthorized)
		return
	}
	switch r.URL.Path {
	case "/insert/jsonline":
		if k.refuse {
			http.Error(w, "read-only", http.StatusTooManyRequests)
			return
		}
		if r.Header.Get(instanceHeader) != k.instance {
			http.Error(w, "another", http.StatusPreconditionFailed)
			return
		}
		for _, line := range strings.Split(strings.TrimSpace(unpacked(r)), "\n") {
			entry := map[string]string{}
			if err := json.Unmarshal([]byte(line), &entry); err != nil {
				panic(err)
			}
			k.entries = append(k.entries, entry)
		}
	case "/select/logsql/query":
		last := ""
		for _, entry := range k.entries {
			last = max(last, entry["_time"])
		}
		if last != "" {
			fmt.Fprintf(w, `{"_time":%q}`, last)
		}
	}
}

func (k *kept) set(change func()) {
	k.mutex.Lock()
	defer k.mutex.Unlock()
	change()
}

func (k *kept) texts() string {
	k.mutex.Lock()
	defer k.mutex.Unlock()
	var found []string
	for _, entry := range k.entries {
		found = append(found, entry["_msg"])
	}
	return strings.Join(found, " ")
}

// shipping starts a shipper between the two, and returns what ends it.
func shipping(t *testing.T, from *node, to *kept, limits limits) (*shipper, func()) {
	t.Helper()
	api, server := httptest.NewServer(from), httptest.NewServer(to)
	directory := t.TempDir()
	token := filepath.Join(directory, "token")
	if err := os.WriteFile(token, []byte("t"), 0o600); err != nil {
		t.Fatal(err)
	}
	store, err := newStore(server.URL, "", "secret")
	if err != nil {
		t.Fatal(err)
	}
	client, _ := newClient("", 0)
	made := newShipper(settings{
		node: "one", namespaces: []namespace{{Name: "parks-internet", Tenant: "parks"}},
		ready: filepath.Join(directory, "ready"), limits: limits,
		pause: 20 * time.Millisecond, collect: 20 * time.Millisecond,
	}, &cluster{url: api.URL, token: token, client: client}, store)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() { made.run(ctx); close(ended) }()
	stop := sync.OnceFunc(func() {
		cancel()
		<-ended
		client.CloseIdleConnections()
		api.CloseClientConnections()
		api.Close()
		server.Close()
	})
	t.Cleanup(stop)
	return made, stop
}

func eventually(t *testing.T, wanted string, got func() string) {
	t.Helper()
	last := ""
	for range 500 {
		if last = got(); last == wanted {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatalf("wanted %q, and there is %q", wanted, last)
}

var start = time.Date(2025, 11, 28, 8, 0, 0, 100000001, time.UTC)

func at(milliseconds int, text string) string {
	return start.Add(time.Duration(milliseconds)*time.Millisecond).Format(time.RFC3339Nano) + " " + text
}

func oneNode(lines ...string) *node {
	return &node{
		pod: podOf("a", 0, true), open: true, changed: make(chan struct{}), logs: map[string][]string{"current": lines},
	}
}

func unlimited() limits { return limits{} }

func TestFieldsAreThoseOfTheNamespaceAndNotOfTheLine(t *testing.T) {
	hostile := `{"_msg":"x","tenant":"health","app":"other"} ` + "\x1b[2J\xff\xfe end"
	to := &kept{instance: "1"}
	shipping(t, oneNode(at(0, hostile), at(1, ""), at(2, "last\r")), to, unlimited())
	wanted := `{"_msg":"x","tenant":"health","app":"other"} ` + "\x1b[2J\ufffd\ufffd end  last"
	eventually(t, wanted, to.texts)
	entry := to.entries[0]
	for name, value := range map[string]string{
		"tenant": "parks", "app": "wishes", "component": "web", "namespace": "parks-internet", "pod": "web-0",
		"container": "web", "node": "one", "pod_uid": "u1", "_time": "2025-11-28T08:00:00.100000001Z",
	} {
		if entry[name] != value {
			t.Errorf("%s is %q", name, entry[name])
		}
	}
	if len(entry) != 10 {
		t.Errorf("there are other fields: %v", entry)
	}
}

func TestANextShipperGoesOnWhereTheStoreIs(t *testing.T) {
	from, to := oneNode(at(0, "one"), at(1, "two")), &kept{instance: "1"}
	_, stop := shipping(t, from, to, unlimited())
	eventually(t, "one two", to.texts)
	stop()
	from.set(func() { from.logs["current"] = append(from.logs["current"], at(2, "three")) })
	shipping(t, from, to, unlimited())
	eventually(t, "one two three", to.texts)
}

func TestAStoreThatIsDownOrFullLosesNothing(t *testing.T) {
	from, to := oneNode(at(0, "one")), &kept{instance: "1", refuse: true}
	made, _ := shipping(t, from, to, unlimited())
	eventually(t, "true", func() string { return fmt.Sprint(strings.Contains(made.state().Problem, "429")) })
	if made.state().Behind <= 0 {
		t.Error("it does not say that it is behind")
	}
	from.set(func() { from.logs["current"] = append(from.logs["current"], at(1, "two")) })
	to.set(func() { to.refuse = false })
	eventually(t, "one two", to.texts)
}

func TestWhatAStoreHasLostByACrashIsSentAgain(t *testing.T) {
	from, to := oneNode(at(0, "one"), at(1, "two")), &kept{instance: "1"}
	made, _ := shipping(t, from, to, unlimited())
	eventually(t, "one two", to.texts)
	to.set(func() { to.entries, to.instance = to.entries[:1], "2" })
	// The next report meets the other instance, while the container is silent.
	if err := made.store.report(context.Background(), report{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "one two", to.texts)
}

func TestTheEndOfARunThatWasNotReadIsReadFromThePreviousOne(t *testing.T) {
	from, to := oneNode(at(3, "four")), &kept{instance: "1"}
	from.pod = podOf("b", 1, true)
	from.logs["previous"] = []string{at(0, "one"), at(1, "two"), at(2, "three")}
	to.entries = []map[string]string{{"_time": start.Format(time.RFC3339Nano), "_msg": "one"}}
	shipping(t, from, to, unlimited())
	eventually(t, "one two three four", to.texts)
}

func TestARestartedContainerIsFollowedOnAndReadOnce(t *testing.T) {
	from, to := oneNode(at(0, "one")), &kept{instance: "1"}
	shipping(t, from, to, unlimited())
	eventually(t, "one", to.texts)
	from.set(func() {
		from.pod, from.open = podOf("a", 0, false), false
		from.logs["current"] = append(from.logs["current"], at(1, "dying"))
	})
	eventually(t, "one dying", to.texts)
	from.set(func() {
		from.logs["previous"] = from.logs["current"]
		from.logs["current"], from.open = []string{at(2, "again")}, true
		from.pod = podOf("b", 1, true)
	})
	eventually(t, "one dying again", to.texts)
}

// waiting is a pod whose container waits to be started again.
func waiting(container string, restarts int) map[string]any {
	found := podOf(container, restarts, false)
	status := found["status"].(map[string]any)["containerStatuses"].([]any)[0].(map[string]any)
	status["state"] = map[string]any{"waiting": map[string]any{"reason": "CrashLoopBackOff"}}
	status["lastState"] = map[string]any{"terminated": map[string]any{"containerID": container}}
	return found
}

func TestTheLogOfAContainerThatWaitsToBeStartedAgainIsRead(t *testing.T) {
	from, to := oneNode(at(0, "why it crashes")), &kept{instance: "1"}
	from.pod, from.open = waiting("b", 5), false
	// The API gives the last run for both.
	from.logs["previous"] = from.logs["current"]
	made, _ := shipping(t, from, to, unlimited())
	eventually(t, "why it crashes", to.texts)
	// Nobody starts it again.
	gone := waiting("b", 5)
	gone["gone"] = true
	from.set(func() { from.pod = gone })
	eventually(t, "0", func() string { return fmt.Sprint(made.state().Containers) })
	if to.texts() != "why it crashes" {
		t.Error(to.texts())
	}
}

func TestARunAfterAWaitIsReadOnce(t *testing.T) {
	from, to := oneNode(at(0, "one")), &kept{instance: "1"}
	from.pod, from.open = waiting("b", 5), false
	from.logs["previous"] = from.logs["current"]
	shipping(t, from, to, unlimited())
	eventually(t, "one", to.texts)
	from.set(func() {
		from.logs["current"], from.open = []string{at(1, "two")}, true
		from.pod = podOf("c", 6, true)
	})
	eventually(t, "one two", to.texts)
}

// began is a pod whose container runs since some seconds before the first line.
func began(seconds int) map[string]any {
	found := podOf("a", 0, true)
	status := found["status"].(map[string]any)["containerStatuses"].([]any)[0].(map[string]any)
	since := start.Add(-time.Duration(seconds) * time.Second).Format(time.RFC3339)
	status["state"] = map[string]any{"running": map[string]any{"startedAt": since}}
	return found
}

func TestALogThatWasRotatedMeanwhileSaysThatLinesMayBeMissing(t *testing.T) {
	from, to := oneNode(at(0, "one"), at(1, "two")), &kept{instance: "1"}
	from.pod = began(60)
	made, stop := shipping(t, from, to, unlimited())
	eventually(t, "one two", to.texts)
	if made.state().Gaps != 0 {
		t.Error("a log that is read from its begin has a gap")
	}
	stop()
	// While no shipper is there, the node begins a new file twice.
	from.set(func() { from.logs["current"] = []string{at(5000, "six"), at(5001, "seven")} })
	made, stop = shipping(t, from, to, unlimited())
	text := "lines may be missing here: the node has rotated the log before it was read on"
	eventually(t, "one two "+text+" six seven", to.texts)
	entry := to.entries[2]
	if entry["gap"] != "rotated" || entry["_time"] >= to.entries[3]["_time"] || entry["_time"] <= to.entries[1]["_time"] {
		t.Error(entry)
	}
	if made.state().Gaps != 1 {
		t.Error(made.state().Gaps)
	}
	stop()
	// The next one finds the last line, and tells nothing.
	from.set(func() { from.logs["current"] = append(from.logs["current"], at(5002, "eight")) })
	shipping(t, from, to, unlimited())
	eventually(t, "one two "+text+" six seven eight", to.texts)
}

func TestANewRunIsNoRotation(t *testing.T) {
	from, to := oneNode(at(5000, "six")), &kept{instance: "1"}
	to.entries = []map[string]string{{"_time": start.Format(time.RFC3339Nano), "_msg": "one"}}
	from.pod = began(0)
	shipping(t, from, to, unlimited())
	eventually(t, "one six", to.texts)
}

func TestAJobsLogIsReadOnceAndItsPodForgotten(t *testing.T) {
	from, to := oneNode(at(0, "done")), &kept{instance: "1"}
	from.pod, from.open = podOf("a", 0, false), false
	made, _ := shipping(t, from, to, unlimited())
	eventually(t, "done", to.texts)
	gone := podOf("a", 0, false)
	gone["gone"] = true
	from.set(func() { from.pod = gone })
	eventually(t, "0", func() string { return fmt.Sprint(made.state().Containers) })
	if to.texts() != "done" {
		t.Error(to.texts())
	}
}

func TestAFloodIsBoundedAndSaysWhatIsMissing(t *testing.T) {
	var lines []string
	for number := range 1000 {
		lines = append(lines, at(number, strings.Repeat("x", 99)))
	}
	from, to := oneNode(lines...), &kept{instance: "1"}
	made, _ := shipping(t, from, to, limits{rate: 10_000, burst: 20_000})
	total := func() string {
		to.mutex.Lock()
		defer to.mutex.Unlock()
		found, missing := 0, 0
		for _, entry := range to.entries {
			var dropped int
			if _, err := fmt.Sscan(entry["dropped_lines"], &dropped); err == nil {
				missing += dropped
			} else {
				found++
			}
		}
		if found < 200 || found > 300 {
			return fmt.Sprintf("%d lines were taken", found)
		}
		return fmt.Sprint(found + missing)
	}
	eventually(t, "1000", total)
	if state := made.state(); state.DroppedLines < 700 || state.DroppedBytes != state.DroppedLines*99 {
		t.Errorf("%+v", state)
	}
	if many := len(to.entries); many > 320 {
		t.Errorf("%d entries tell of the gaps", many)
	}
}

func TestWhatWasHeldUpIsNoFlood(t *testing.T) {
	var lines []string
	for number := range 100 {
		// 1,000 bytes a second, which are read at once.
		lines = append(lines, at(number*1000, strings.Repeat("x", 999)))
	}
	to := &kept{instance: "1"}
	made, _ := shipping(t, oneNode(lines...), to, limits{rate: 1000, burst: 5000})
	eventually(t, "100", func() string { return fmt.Sprint(made.state().Lines) })
}

func TestALongLineIsCutAndSaysSo(t *testing.T) {
	to := &kept{instance: "1"}
	shipping(t, oneNode(at(0, strings.Repeat("y", 3*lineBytes)), at(1, "next")), to, unlimited())
	eventually(t, "2", func() string { return fmt.Sprint(strings.Count(to.texts(), " ") + 1) })
	length := len(to.entries[0]["_msg"])
	if length < lineBytes || length > lineBytes+36 || to.entries[0]["cut_bytes"] != fmt.Sprint(3*lineBytes-length) {
		t.Errorf("%d bytes are kept, %s cut", length, to.entries[0]["cut_bytes"])
	}
}

func TestAClockThatIsSetBackLosesNothing(t *testing.T) {
	to := &kept{instance: "1"}
	shipping(t, oneNode(at(5000, "one"), at(0, "two"), at(1, "three")), to, unlimited())
	eventually(t, "one two three", to.texts)
}

func TestReadyTellsOfAStoreThatIsNotReached(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ready")
	if Ready(context.Background(), []string{path}) == nil {
		t.Error("ready before anything was reached")
	}
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := Ready(context.Background(), []string{path}); err != nil {
		t.Error(err)
	}
	old := time.Now().Add(-2 * readyFor)
	if err := os.Chtimes(path, old, old); err != nil {
		t.Fatal(err)
	}
	if Ready(context.Background(), []string{path}) == nil {
		t.Error("ready though the store was not reached for long")
	}
}

func TestWhatEndsALogIsNoLine(t *testing.T) {
	text := at(0, "one") + "\nfailed to watch file: no space left on device\n"
	got := 0
	err := readLines(bytes.NewBufferString(text), func(line) bool { got++; return true })
	if err == nil || got != 1 {
		t.Errorf("%d lines, %v", got, err)
	}
}

func TestAListOfPodsIsReadOneByOne(t *testing.T) {
	const count = 64
	item := `{"metadata": {"name": "a", "annotations": {"x": "` + strings.Repeat("x", 1<<20) + `"}}}`
	parts := []io.Reader{strings.NewReader(`{"kind": "PodList", "metadata": {"resourceVersion": "7"}, "items": [`)}
	for i := range count {
		if i > 0 {
			parts = append(parts, strings.NewReader(","))
		}
		parts = append(parts, strings.NewReader(item))
	}
	parts = append(parts, strings.NewReader("]}"))
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	pods, version, err := decodeList(io.MultiReader(parts...))
	runtime.ReadMemStats(&after)
	if err != nil || version != "7" || len(pods) != count || pods[count-1].Metadata.Name != "a" {
		t.Fatal(err, version, len(pods))
	}
	if used := after.TotalAlloc - before.TotalAlloc; used > 16<<20 {
		t.Errorf("%d bytes are allocated for one pod of 1 MiB after the other", used)
	}
	for _, text := range []string{``, `[]`, `{"items": {}}`, `{"items": [{"metadata": {"name": "a"}}`, `{"items": [1]}`} {
		if pods, _, err := decodeList(strings.NewReader(text)); err == nil {
			t.Errorf("%s is read as %v", text, pods)
		}
	}
}

func unpacked(r *http.Request) string {
	text, err := io.ReadAll(gunzip(r.Body))
	if err != nil {
		panic(err)
	}
	return string(text)
}

func gunzip(body io.Reader) io.Reader {
	reader, err := gzip.NewReader(body)
	if err != nil {
		panic(err)
	}
	return reader
}
