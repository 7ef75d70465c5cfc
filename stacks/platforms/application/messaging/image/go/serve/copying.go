package serve

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
)

// A copy of an account is a line of JSON for what the account has, one for each stream followed by its snapshot in
// pieces, and one for the end. A piece is its length in a line, and its bytes; one of length 0 ends a snapshot. Snapshots
// are those of NATS: messages with their sequences and times, and consumers with what they have acknowledged.
type line struct {
	Format  string          `json:"format,omitempty"`
	Account *Account        `json:"account,omitempty"`
	Stream  string          `json:"stream,omitempty"`
	Config  json.RawMessage `json:"config,omitempty"`
	State   json.RawMessage `json:"state,omitempty"`
	End     bool            `json:"end,omitempty"`
}

const (
	format = "wecity messaging 1"
	// The pieces of a snapshot, and the most that a restore takes as one: within what a message may have.
	piece, largest = 128 << 10, 512 << 10
	// Seconds without any answer after which a copy is given up.
	patience = time.Minute
)

var (
	errOccupied = errors.New("the account has streams")
	errCopy     = errors.New("the copy cannot be read")
)

// dump writes a copy of an account. Each stream is as it was at an instant of its own.
func (b *broker) dump(ctx context.Context, item Account, to io.Writer) error {
	out := bufio.NewWriterSize(to, piece)
	item.Hash, item.Locked = "", 0
	write := func(about line) error { return json.NewEncoder(out).Encode(about) }
	if err := write(line{Format: format, Account: &item}); err != nil {
		return err
	}
	err := b.visit(ctx, item.Name, func(stream nats.JetStreamContext, connection *nats.Conn) error {
		names, err := streamNames(ctx, stream)
		if err != nil {
			return err
		}
		slices.Sort(names)
		for _, name := range names {
			if err := snapshot(ctx, connection, name, write, out); err != nil {
				return fmt.Errorf("stream %s: %w", name, err)
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	if err := write(line{End: true}); err != nil {
		return err
	}
	return out.Flush()
}

// failure is the error in an answer of the server's.
type failure struct {
	Error *struct {
		Description string `json:"description"`
	} `json:"error"`
}

func (f failure) err() error {
	if f.Error == nil {
		return nil
	}
	return errors.New(f.Error.Description)
}

// snapshot writes a stream: what it is, and its pieces. Source: NATS' ADR-31 and its command line client.
func snapshot(ctx context.Context, connection *nats.Conn, name string, write func(line) error, out *bufio.Writer) error {
	inbox := nats.NewInbox()
	arriving, err := connection.SubscribeSync(inbox)
	if err != nil {
		return err
	}
	defer func() { _ = arriving.Unsubscribe() }()
	// As many as may be under way, and some.
	if err := arriving.SetPendingLimits(-1, -1); err != nil {
		return err
	}
	asked, err := json.Marshal(object{"deliver_subject": inbox, "chunk_size": piece, "jsck": true})
	if err != nil {
		return err
	}
	within, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	answer, err := connection.RequestWithContext(within, "$JS.API.STREAM.SNAPSHOT."+name, asked)
	if err != nil {
		return err
	}
	var told struct {
		failure
		Config json.RawMessage `json:"config"`
		State  json.RawMessage `json:"state"`
	}
	if err := json.Unmarshal(answer.Data, &told); err != nil {
		return err
	}
	if err := told.err(); err != nil {
		return err
	}
	if err := write(line{Stream: name, Config: told.Config, State: told.State}); err != nil {
		return err
	}
	for {
		message, err := arriving.NextMsg(patience)
		if err != nil {
			return err
		}
		// The last one has no content, and a status where something has failed.
		if status := message.Header.Get("Status"); status != "" && status != "204" {
			return fmt.Errorf("the snapshot has failed: %s %s", status, message.Header.Get("Description"))
		}
		if len(message.Data) == 0 {
			break
		}
		if _, err := fmt.Fprintf(out, "%d\n", len(message.Data)); err != nil {
			return err
		}
		if _, err := out.Write(message.Data); err != nil {
			return err
		}
		if message.Reply != "" {
			if err := message.Respond(nil); err != nil {
				return err
			}
		}
	}
	_, err = io.WriteString(out, "0\n")
	return err
}

// restore makes a copy what an account has. One that is not there is made locked, with the limits of the copy. Without
// `replace` an account with streams is left alone.
func (b *broker) restore(ctx context.Context, name, owner string, from io.Reader, replace bool) error {
	in := bufio.NewReaderSize(from, 4<<20)
	about, err := read(in)
	if err != nil {
		return err
	}
	if about.Format != format || about.Account == nil {
		return fmt.Errorf("%w: it does not begin as one of an account of messaging", errCopy)
	}
	item := *about.Account
	item.Name, item.Owner = name, owner
	b.mutex.Lock()
	_, is := b.accounts.known[name]
	b.mutex.Unlock()
	if !is {
		if err := b.put(item, ""); err != nil {
			return err
		}
	}
	return b.visit(ctx, name, func(stream nats.JetStreamContext, connection *nats.Conn) error {
		names, err := streamNames(ctx, stream)
		if err != nil {
			return err
		}
		if len(names) > 0 && !replace {
			return errOccupied
		}
		if err := clear(ctx, stream); err != nil {
			return err
		}
		for {
			about, err := read(in)
			if err != nil {
				return err
			}
			if about.End {
				return nil
			}
			if err := take(ctx, connection, about, in); err != nil {
				return fmt.Errorf("stream %.80s: %w", about.Stream, err)
			}
		}
	})
}

// read reads a line of a copy.
func read(in *bufio.Reader) (line, error) {
	var about line
	text, err := in.ReadSlice('\n')
	if errors.Is(err, bufio.ErrBufferFull) {
		// A line has a configuration at most, which came in one message.
		return about, fmt.Errorf("%w: a line of it is too long", errCopy)
	}
	if err != nil {
		return about, fmt.Errorf("%w: it ends before its end", errCopy)
	}
	if err := json.Unmarshal(text, &about); err != nil {
		return about, fmt.Errorf("%w: %w", errCopy, err)
	}
	return about, nil
}

// take has the server make a stream of what follows in a copy.
func take(ctx context.Context, connection *nats.Conn, about line, in *bufio.Reader) error {
	if about.Stream == "" || strings.ContainsAny(about.Stream, " .*>/\\") {
		return fmt.Errorf("%w: a stream has no name that one can have", errCopy)
	}
	ask := func(subject string, content []byte) ([]byte, error) {
		within, cancel := context.WithTimeout(ctx, patience)
		defer cancel()
		answer, err := connection.RequestWithContext(within, subject, content)
		if err != nil {
			return nil, err
		}
		var told failure
		if len(answer.Data) > 0 {
			if err := json.Unmarshal(answer.Data, &told); err != nil {
				return nil, err
			}
		}
		return answer.Data, told.err()
	}
	asked, err := json.Marshal(object{"config": about.Config, "state": about.State})
	if err != nil {
		return err
	}
	answer, err := ask("$JS.API.STREAM.RESTORE."+about.Stream, asked)
	if err != nil {
		return err
	}
	var told struct {
		Subject string `json:"deliver_subject"`
	}
	if err := json.Unmarshal(answer, &told); err != nil {
		return err
	}
	if err := pieces(in, func(content []byte) error {
		_, err := ask(told.Subject, content)
		return err
	}); err != nil {
		// A piece that wants no answer has the server give the restore up; it would wait for more.
		_ = connection.Publish(told.Subject, nil)
		_ = connection.FlushTimeout(patience)
		return err
	}
	// The last answer tells whether the server has made the stream.
	_, err = ask(told.Subject, nil)
	return err
}

// pieces reads a snapshot, and does with each piece what is to be done.
func pieces(in *bufio.Reader, do func([]byte) error) error {
	buffer := make([]byte, largest)
	for {
		var length int
		text, err := in.ReadString('\n')
		if err != nil {
			return fmt.Errorf("%w: it ends before its end", errCopy)
		}
		if _, err := fmt.Sscanf(text, "%d\n", &length); err != nil || length < 0 || length > largest {
			return fmt.Errorf("%w: a piece of it has no length that one can have", errCopy)
		}
		if length == 0 {
			return nil
		}
		if _, err := io.ReadFull(in, buffer[:length]); err != nil {
			return fmt.Errorf("%w: it ends before its end", errCopy)
		}
		if err := do(buffer[:length]); err != nil {
			return err
		}
	}
}
