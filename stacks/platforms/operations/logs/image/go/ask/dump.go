package ask

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/url"
	"os"
	"slices"
	"strconv"
	"time"

	"wecity.dev/logs/store"
)

// A backup is lines of JSON: a head, then windows, each before as many lines as it says, and the end. A stream without
// the end was cut.
type mark struct {
	Logs  int    `json:"logs,omitempty"`
	Until string `json:"until,omitempty"`
	From  string `json:"from,omitempty"`
	To    string `json:"to,omitempty"`
	Lines *int   `json:"lines,omitempty"`
	End   bool   `json:"end,omitempty"`
}

const (
	form = 1
	// Lines and bytes of messages of one window, which is in memory. A window of a second may have more.
	mostLines, mostBytes = 20_000, 16 << 20
)

// Dump writes all lines up to now, the oldest first, in windows of a day, or shorter ones where there are many.
//
// Within a window lines are sorted, as the store answers in no order: so what has not changed since is the same bytes,
// which the next backup does not store again.
func Dump(ctx context.Context, _ []string) error {
	server, err := patient()
	if err != nil {
		return err
	}
	whole := bufio.NewWriterSize(os.Stdout, 1<<20)
	if err := server.dump(ctx, time.Now().UTC(), whole); err != nil {
		return err
	}
	return whole.Flush()
}

// patient is a connection for questions whose answers are long.
func patient() (*server, error) {
	made, err := connect()
	if err == nil {
		made.client.Timeout = 2 * time.Minute
	}
	return made, err
}

func (s *server) dump(ctx context.Context, until time.Time, stream io.Writer) error {
	// Lines are found when they have been in the store's memory for a moment.
	time.Sleep(settled)
	if err := write(stream, mark{Logs: form, Until: stamp(until)}); err != nil {
		return err
	}
	oldest, err := s.oldest(ctx)
	if err != nil {
		return err
	}
	for from := oldest.Truncate(24 * time.Hour); !oldest.IsZero() && from.Before(until); from = from.Add(24 * time.Hour) {
		if err := s.window(ctx, from, 24*time.Hour, until, stream); err != nil {
			return fmt.Errorf("the day of %s: %w", from.Format(time.DateOnly), err)
		}
	}
	return write(stream, mark{End: true})
}

// settled is how long after it was sent a line is found at the latest.
const settled = 3 * time.Second

// oldest is the time of the oldest line, zero if there is none.
func (s *server) oldest(ctx context.Context) (time.Time, error) {
	found, err := s.status(ctx)
	if err != nil || found.Oldest == 0 {
		return time.Time{}, err
	}
	return time.Unix(found.Oldest, 0).UTC(), nil
}

func (s *server) status(ctx context.Context) (store.Status, error) {
	var found store.Status
	text, err := s.ask(ctx, store.Admin, os.Getenv("ADMIN_PASSWORD"), "/status", nil)
	if err == nil {
		err = json.Unmarshal(text, &found)
	}
	return found, err
}

// window writes the lines of a span of time, in halves where they are too many.
func (s *server) window(ctx context.Context, from time.Time, length time.Duration, until time.Time, stream io.Writer) error {
	to := from.Add(length)
	if to.After(until) {
		to = until
	}
	count, size, err := s.count(ctx, from, to)
	if err != nil || count == 0 {
		return err
	}
	if (count > mostLines || size > mostBytes) && length > time.Second {
		half := length / 2
		if err := s.window(ctx, from, half, until, stream); err != nil {
			return err
		}
		if from = from.Add(half); from.Before(until) {
			return s.window(ctx, from, length-half, until, stream)
		}
		return nil
	}
	lines, err := s.lines(ctx, from, to)
	if err != nil {
		return err
	}
	// Lines may have come since they were counted. Fewer are an answer that was cut.
	if len(lines) < count {
		return fmt.Errorf("the store has answered %d of %d lines", len(lines), count)
	}
	slices.SortFunc(lines, bytes.Compare)
	number := len(lines)
	if err := write(stream, mark{From: stamp(from), To: stamp(to), Lines: &number}); err != nil {
		return err
	}
	for _, line := range lines {
		if _, err := stream.Write(append(line, '\n')); err != nil {
			return err
		}
	}
	return nil
}

func stamp(at time.Time) string { return at.UTC().Format(time.RFC3339Nano) }

func write(stream io.Writer, value mark) error {
	text, err := json.Marshal(value)
	if err == nil {
		_, err = stream.Write(append(text, '\n'))
	}
	return err
}

// query asks for lines of a span of time, its end not included.
func (s *server) query(ctx context.Context, from, to time.Time, rest string) ([]byte, error) {
	values := url.Values{"query": {fmt.Sprintf("_time:[%s, %s) %s", stamp(from), stamp(to), rest)}}
	return s.ask(ctx, store.Admin, os.Getenv("ADMIN_PASSWORD"), "/select/logsql/query?"+values.Encode(), nil)
}

// count is how many lines a span of time has, and how many bytes their messages.
func (s *server) count(ctx context.Context, from, to time.Time) (lines, size int, err error) {
	text, err := s.query(ctx, from, to, "| stats count() lines, sum_len(_msg) bytes")
	if err != nil {
		return 0, 0, err
	}
	var found struct{ Lines, Bytes string }
	if err := json.Unmarshal(text, &found); err != nil {
		return 0, 0, fmt.Errorf("the store answers %.100q for a count: %w", text, err)
	}
	lines, err = strconv.Atoi(found.Lines)
	size, _ = strconv.Atoi(found.Bytes)
	return lines, size, err
}

// lines are those of a span of time, in one form: fields in order, without what the store derives from them.
func (s *server) lines(ctx context.Context, from, to time.Time) ([][]byte, error) {
	text, err := s.query(ctx, from, to, "")
	if err != nil {
		return nil, err
	}
	found := [][]byte{}
	for item := range bytes.Lines(text) {
		fields := map[string]string{}
		if err := json.Unmarshal(item, &fields); err != nil {
			return nil, fmt.Errorf("the store answers %.100q for a line: %w", item, err)
		}
		delete(fields, "_stream")
		delete(fields, "_stream_id")
		line, err := uniform(fields)
		if err != nil {
			return nil, err
		}
		found = append(found, line)
	}
	return found, nil
}

func uniform(fields map[string]string) ([]byte, error) {
	var text bytes.Buffer
	encoder := json.NewEncoder(&text)
	encoder.SetEscapeHTML(false)
	err := encoder.Encode(fields)
	return bytes.TrimSuffix(text.Bytes(), []byte("\n")), err
}
