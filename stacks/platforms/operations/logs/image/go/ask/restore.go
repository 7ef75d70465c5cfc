package ask

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"wecity.dev/logs/store"
)

// ErrOccupied is returned by Restore where there are lines of the time of the backup, and nothing was to be changed.
var ErrOccupied = errors.New("the store has lines of the time of the backup")

// Restore reads what Dump has written and adds the lines that the store does not have. CHANGED and REPLACE are as
// `BackupScripts` explains them.
func Restore(ctx context.Context, _ []string) error {
	server, err := patient()
	if err != nil {
		return err
	}
	before, err := server.status(ctx)
	if err != nil {
		return err
	}
	err = server.restore(ctx, os.Stdin, os.Getenv("REPLACE") == "yes", func() error {
		const told = "the log store has lines of the backup beside its own, and may lack some of the backup's"
		return os.WriteFile(os.Getenv("CHANGED"), []byte(told+"\n"), 0o600)
	})
	if err != nil {
		return err
	}
	if after, err := server.status(ctx); err == nil && after.TooOld > before.TooOld {
		fmt.Fprintf(os.Stderr, "%d lines are older than the store keeps any\n", after.TooOld-before.TooOld)
	}
	return nil
}

func (s *server) restore(ctx context.Context, stream io.Reader, replace bool, changing func() error) error {
	from := bufio.NewReaderSize(stream, 1<<20)
	var head mark
	if err := read(from, &head); err != nil {
		return err
	}
	until, err := time.Parse(time.RFC3339Nano, head.Until)
	if head.Logs != form || err != nil {
		return errors.New("the backup does not begin as one of logs does")
	}
	if !replace {
		text, err := s.query(ctx, time.Unix(0, 0), until, "| limit 1")
		if err != nil {
			return err
		}
		if len(text) > 0 {
			return ErrOccupied
		}
	}
	if err := changing(); err != nil {
		return err
	}
	var last sent
	for {
		var item mark
		if err := read(from, &item); err != nil {
			return err
		}
		if item.End {
			break
		}
		if err := s.fill(ctx, from, item, &last); err != nil {
			return err
		}
	}
	return s.await(ctx, last)
}

func read(from *bufio.Reader, value *mark) error {
	text, err := from.ReadBytes('\n')
	if err != nil {
		return errors.New("the stream ends before its end")
	}
	if err := json.Unmarshal(text, value); err != nil {
		return fmt.Errorf("%.100q is no part of a backup of logs", text)
	}
	return nil
}

// sent is the last window of which lines were sent, and how many the backup has of it.
type sent struct {
	from, to time.Time
	lines    int
}

// fill reads the lines of a window and sends those that the store does not have.
func (s *server) fill(ctx context.Context, from *bufio.Reader, item mark, last *sent) error {
	start, err := time.Parse(time.RFC3339Nano, item.From)
	end, failed := time.Parse(time.RFC3339Nano, item.To)
	if err != nil || failed != nil || item.Lines == nil {
		return fmt.Errorf("%+v is no window of a backup of logs", item)
	}
	there, err := s.lines(ctx, start, end)
	if err != nil {
		return err
	}
	known := map[[sha256.Size]byte]int{}
	for _, line := range there {
		known[sha256.Sum256(line)]++
	}
	var batch bytes.Buffer
	for range *item.Lines {
		line, err := from.ReadBytes('\n')
		if err != nil {
			return errors.New("the stream ends before its end")
		}
		key := sha256.Sum256(bytes.TrimSuffix(line, []byte("\n")))
		if known[key] > 0 {
			known[key]--
			continue
		}
		*last = sent{start, end, *item.Lines}
		batch.Write(line)
		if batch.Len() > batchBytes {
			if err := s.send(ctx, &batch); err != nil {
				return err
			}
		}
	}
	return s.send(ctx, &batch)
}

// batchBytes is how much is sent at a time: with a longest line beside it, less than the store takes at once.
const batchBytes = 4 << 20

func (s *server) send(ctx context.Context, batch *bytes.Buffer) error {
	if batch.Len() == 0 {
		return nil
	}
	password := store.ShipperPassword(os.Getenv("ADMIN_PASSWORD"))
	_, err := s.ask(ctx, store.Shipper, password, "/insert/jsonline", batch.Bytes())
	batch.Reset()
	return err
}

// await waits until the lines of the last window that was sent are found, so that whoever reads next finds them.
func (s *server) await(ctx context.Context, last sent) error {
	status, err := s.status(ctx)
	if err != nil || last.lines == 0 {
		return err
	}
	began := time.Now()
	if began.Sub(last.from) > time.Duration(status.RetentionDays-1)*24*time.Hour {
		// The store may have refused them, as they are too old.
		time.Sleep(settled)
		return nil
	}
	for {
		count, _, err := s.count(ctx, last.from, last.to)
		if err != nil || count >= last.lines {
			return err
		}
		if time.Since(began) > time.Minute {
			return fmt.Errorf("of %d lines from %s on, %d are found", last.lines, stamp(last.from), count)
		}
		time.Sleep(200 * time.Millisecond)
	}
}
