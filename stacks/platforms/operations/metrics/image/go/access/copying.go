package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strconv"
	"time"
)

// A backup is a line with the format and the time in seconds up to which samples are in it, and then parts: a length of
// four bytes, and so many bytes in the store's native format. A part of no bytes is the end; a stream without it was cut.
const (
	heading = "wecity-metrics 1 %d\n"
	// Bytes that are in memory at a time, of one day.
	mostBytes = 48 << 20
	// Samples are read day by day, so that the store looks for the series of one day at a time.
	day = 86400
	// No name and no block of the store is longer.
	longest = 1 << 20
	all     = `{__name__!=""}`
)

// errOccupied is that there are samples of the time of the backup, where nothing was to be changed.
var errOccupied = errors.New("the store has samples of the time of the backup")

// dump writes all samples of the last `days` days up to `until`, the oldest day first.
//
// Within a part blocks are sorted, as the store answers in no order: so what has not changed since is the same bytes,
// which the next backup does not store again.
func (c *client) dump(ctx context.Context, until time.Time, days int, stream io.Writer) error {
	// What came a moment ago is in the store's memory, where no search sees it.
	if err := c.done(ctx, http.MethodGet, "/internal/force_flush", nil, nil); err != nil {
		return err
	}
	if _, err := fmt.Fprintf(stream, heading, until.Unix()); err != nil {
		return err
	}
	last := until.Unix() / day
	for number := last - int64(days); number <= last; number++ {
		end := min((number+1)*day*1000-1, until.UnixMilli())
		if err := c.dumpDay(ctx, number*day, end, stream); err != nil {
			return fmt.Errorf("the day of %s: %w", time.Unix(number*day, 0).UTC().Format(time.DateOnly), err)
		}
	}
	return part(stream, nil)
}

// dumpDay writes the samples from a second on up to a millisecond.
func (c *client) dumpDay(ctx context.Context, start, end int64, stream io.Writer) error {
	answer, err := c.ask(ctx, http.MethodGet, "/api/v1/export/native", span(start*1000, end), nil)
	if err != nil {
		return err
	}
	defer answer.Close()
	from := bufio.NewReaderSize(answer, 1<<16)
	times := make([]byte, 16)
	if _, err := io.ReadFull(from, times); err != nil {
		return err
	}
	blocks, size := [][]byte{}, 0
	write := func() error {
		if len(blocks) == 0 {
			return nil
		}
		slices.SortFunc(blocks, bytes.Compare)
		err := part(stream, append([][]byte{times}, blocks...))
		blocks, size = blocks[:0], 0
		return err
	}
	for {
		block, err := next(from)
		if err == io.EOF {
			return write()
		}
		if err != nil {
			return err
		}
		blocks, size = append(blocks, block), size+len(block)
		if size >= mostBytes {
			if err := write(); err != nil {
				return err
			}
		}
	}
}

// span selects all series from one millisecond to another.
func span(start, end int64) url.Values {
	seconds := func(milliseconds int64) string { return strconv.FormatFloat(float64(milliseconds)/1000, 'f', 3, 64) }
	return url.Values{"match[]": {all}, "start": {seconds(start)}, "end": {seconds(end)}}
}

// next reads a block with the name of its series: two lengths, each before so many bytes. It ends with `io.EOF` only
// between two blocks.
func next(from io.Reader) ([]byte, error) {
	block := make([]byte, 0, 256)
	for range 2 {
		at := len(block)
		block = append(block, 0, 0, 0, 0)
		if _, err := io.ReadFull(from, block[at:]); err != nil {
			if at > 0 && err == io.EOF {
				err = io.ErrUnexpectedEOF
			}
			return nil, err
		}
		length := binary.BigEndian.Uint32(block[at:])
		if length > longest {
			return nil, fmt.Errorf("%d bytes are no block of the store", length)
		}
		at = len(block)
		block = append(block, make([]byte, length)...)
		if _, err := io.ReadFull(from, block[at:]); err != nil {
			return nil, io.ErrUnexpectedEOF
		}
	}
	return block, nil
}

func part(stream io.Writer, pieces [][]byte) error {
	size := 0
	for _, piece := range pieces {
		size += len(piece)
	}
	length := binary.BigEndian.AppendUint32(nil, uint32(size))
	for _, piece := range append([][]byte{length}, pieces...) {
		if _, err := stream.Write(piece); err != nil {
			return err
		}
	}
	return nil
}

// restore reads what dump has written and adds it to what the store has. Samples that are there already are not
// doubled: the store keeps one of a time (`-dedup.minScrapeInterval`). Without `replace` nothing is added where there are
// samples of the backup's time. `changing` is called before anything is.
func (c *client) restore(ctx context.Context, stream io.Reader, replace bool, days int, changing func() error) error {
	from := bufio.NewReaderSize(stream, 1<<16)
	line, err := from.ReadString('\n')
	var until int64
	if _, scanned := fmt.Sscanf(line, heading, &until); err != nil || scanned != nil {
		return errors.New("the backup does not begin as one of metrics does")
	}
	if !replace {
		if err := c.empty(ctx, until, days); err != nil {
			return err
		}
	}
	if err := changing(); err != nil {
		return err
	}
	dropped, err := c.dropped(ctx)
	if err != nil {
		return err
	}
	for {
		length := make([]byte, 4)
		if _, err := io.ReadFull(from, length); err != nil {
			return errors.New("the stream ends before its end")
		}
		size := binary.BigEndian.Uint32(length)
		if size == 0 {
			break
		}
		if size > mostBytes+4*longest {
			return fmt.Errorf("%d bytes are no part of a backup of metrics", size)
		}
		content := make([]byte, size)
		if _, err := io.ReadFull(from, content); err != nil {
			return errors.New("the stream ends before its end")
		}
		if err := c.put(ctx, content); err != nil {
			return err
		}
	}
	if err := c.done(ctx, http.MethodGet, "/internal/force_flush", nil, nil); err != nil {
		return err
	}
	after, err := c.dropped(ctx)
	if err != nil {
		return err
	}
	if after > dropped {
		return fmt.Errorf("the store has refused %d samples, as they are of more series than it takes in an hour or a day: "+
			"restore once more in an hour, which adds what is missing", after-dropped)
	}
	return nil
}

// empty returns `errOccupied` if there is a sample of the backup's time.
func (c *client) empty(ctx context.Context, until int64, days int) error {
	values := span((until-int64(days)*day)*1000, until*1000)
	values.Set("max_rows_per_line", "1")
	values.Set("reduce_mem_usage", "1")
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	answer, err := c.ask(ctx, http.MethodGet, "/api/v1/export", values, nil)
	if err != nil {
		return err
	}
	defer answer.Close()
	switch count, err := io.ReadFull(answer, make([]byte, 1)); {
	case count > 0:
		return errOccupied
	case err == io.EOF:
		return nil
	default:
		return err
	}
}

// put sends a part, which may be sent again, since it doubles nothing: the store may be started anew meanwhile.
func (c *client) put(ctx context.Context, content []byte) error {
	var err error
	for range 5 {
		if err = c.done(ctx, http.MethodPost, "/api/v1/import/native", nil, bytes.NewReader(content)); err == nil {
			return nil
		}
		time.Sleep(c.pause)
	}
	return err
}

// dropped is how many samples the store has refused as they were of too many series.
func (c *client) dropped(ctx context.Context) (int64, error) {
	hourly, err := c.figures(ctx, "vm_hourly_series_limit_rows_dropped_total", "")
	if err != nil {
		return 0, err
	}
	daily, err := c.figures(ctx, "vm_daily_series_limit_rows_dropped_total", "")
	return hourly + daily, err
}

// copied runs `dump` or `restore` for the Job of a backup, and ends the program. RETENTION_DAYS is how many days the
// store keeps; `restore` has REPLACE and CHANGED, as `BackupScripts` explains them.
func copied(ctx context.Context, action string) {
	found, err := connected()
	if err == nil {
		var days int
		if days, err = strconv.Atoi(os.Getenv("RETENTION_DAYS")); err == nil {
			err = found.copy(ctx, action, days)
		}
	}
	if err == nil {
		os.Exit(0)
	}
	fmt.Fprintln(os.Stderr, err)
	if errors.Is(err, errOccupied) {
		os.Exit(3)
	}
	os.Exit(1)
}

func (c *client) copy(ctx context.Context, action string, days int) error {
	if action == "dump" {
		whole := bufio.NewWriterSize(os.Stdout, 1<<20)
		if err := c.dump(ctx, time.Now(), days, whole); err != nil {
			return err
		}
		return whole.Flush()
	}
	ignored, err := c.figures(ctx, "vm_rows_ignored_total", `reason="small_timestamp"`)
	if err != nil {
		return err
	}
	err = c.restore(ctx, os.Stdin, os.Getenv("REPLACE") == "yes", days, func() error {
		const told = "the metrics store has samples of the backup beside its own, and may lack some of the backup's"
		return os.WriteFile(os.Getenv("CHANGED"), []byte(told+"\n"), 0o600)
	})
	if err != nil {
		return err
	}
	if after, err := c.figures(ctx, "vm_rows_ignored_total", `reason="small_timestamp"`); err == nil && after > ignored {
		fmt.Fprintf(os.Stderr, "%d samples are older than the store keeps any\n", after-ignored)
	}
	return nil
}
