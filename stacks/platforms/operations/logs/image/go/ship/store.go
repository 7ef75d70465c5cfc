package ship

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"
)

// How many batches are sent at a time. Others wait, with what they have read.
const senders = 4

// instanceHeader is the store's `InstanceHeader`.
const instanceHeader = "Store-Instance"

// errOtherInstance: the server is another one than before, and may have lost what the other had in memory only.
var errOtherInstance = errors.New("the store was started again")

// A report is what the store hears of a shipper; the store's package says what is in it.
type report struct {
	Node         string `json:"node"`
	Containers   int    `json:"containers"`
	Lines        int64  `json:"lines"`
	DroppedLines int64  `json:"dropped_lines"`
	DroppedBytes int64  `json:"dropped_bytes"`
	CutLines     int64  `json:"cut_lines"`
	Gaps         int64  `json:"gaps"`
	Behind       int64  `json:"behind_seconds"`
	Problem      string `json:"problem"`
}

type store struct {
	url, password string
	client        *http.Client
	slots         chan struct{}

	mutex sync.Mutex
	known string
	// Called when the server that answers is another one than before.
	changed func()
}

func newStore(address, authority, password string) (*store, error) {
	if password == "" {
		return nil, errors.New("SHIPPER_PASSWORD is needed")
	}
	client, err := newClient(authority, 15*time.Second)
	if err != nil {
		return nil, err
	}
	return &store{
		url: strings.TrimSuffix(address, "/"), password: password, client: client,
		slots: make(chan struct{}, senders),
	}, nil
}

// instance names the server that answered last.
func (s *store) instance() string {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	return s.known
}

func (s *store) answered(instance string) {
	s.mutex.Lock()
	before := s.known
	s.known = instance
	s.mutex.Unlock()
	if before != "" && before != instance && s.changed != nil {
		s.changed()
	}
}

func (s *store) ask(ctx context.Context, path string, headers map[string]string, body []byte) ([]byte, error) {
	method := http.MethodPost
	if body == nil {
		method = http.MethodGet
	}
	request, err := http.NewRequestWithContext(ctx, method, s.url+path, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	request.SetBasicAuth("shipper", s.password)
	for name, value := range headers {
		request.Header.Set(name, value)
	}
	response, err := s.client.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(io.LimitReader(response.Body, 1024*1024))
	if err != nil {
		return nil, err
	}
	s.answered(response.Header.Get(instanceHeader))
	if response.StatusCode == http.StatusPreconditionFailed {
		return nil, errOtherInstance
	}
	if response.StatusCode/100 != 2 {
		return nil, fmt.Errorf("the store answers %d: %.300s", response.StatusCode, strings.TrimSpace(string(text)))
	}
	return text, nil
}

// insert stores lines, unless the server is not the `instance` that has what was sent before.
func (s *store) insert(ctx context.Context, instance string, lines []byte) error {
	select {
	case s.slots <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { <-s.slots }()
	var packed bytes.Buffer
	writer, err := gzip.NewWriterLevel(&packed, gzip.BestSpeed)
	if err != nil {
		return err
	}
	_, err = writer.Write(lines)
	if err := errors.Join(err, writer.Close()); err != nil {
		return err
	}
	headers := map[string]string{
		"Content-Encoding": "gzip", "Content-Type": "application/stream+json", instanceHeader: instance,
	}
	_, err = s.ask(ctx, "/insert/jsonline", headers, packed.Bytes())
	return err
}

// last returns the time of the last line of a container that is stored, the zero time for none, and the server that
// says so.
func (s *store) last(ctx context.Context, of *follower) (time.Time, string, error) {
	query := fmt.Sprintf(
		`{namespace=%q,pod=%q,container=%q} pod_uid:=%q | fields _time`,
		of.namespace.Name, of.pod.Metadata.Name, of.container, of.pod.Metadata.UID,
	)
	values := url.Values{"query": {query}, "limit": {"1"}}
	// Taken before the question: if another server answers, the next insertion is refused.
	instance := s.instance()
	text, err := s.ask(ctx, "/select/logsql/query?"+values.Encode(), nil, nil)
	if instance == "" {
		instance = s.instance()
	}
	if err != nil || len(bytes.TrimSpace(text)) == 0 {
		return time.Time{}, instance, err
	}
	var found struct {
		Time time.Time `json:"_time"`
	}
	if err := json.Unmarshal(text, &found); err != nil {
		return time.Time{}, "", fmt.Errorf("the store says of what it has: %.200q", text)
	}
	return found.Time, instance, nil
}

func (s *store) report(ctx context.Context, state report) error {
	text, err := json.Marshal(state)
	if err != nil {
		return err
	}
	_, err = s.ask(ctx, "/shippers", map[string]string{"Content-Type": "application/json"}, text)
	return err
}
