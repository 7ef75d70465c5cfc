package ship

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"time"
)

const (
	// Bytes of a line that are kept; the rest is cut.
	lineBytes = 64 * 1024
	// Bytes and lines of a batch. One line more may be added to a batch that is nearly full.
	batchBytes = 128 * 1024
	batchLines = 2000
)

// A line of a log. cut is the number of bytes that are left out at its end.
type line struct {
	at   time.Time
	text []byte
	cut  int64
}

// readLines gives each line of a log to take, until the log ends or take returns false.
//
// Each begins with a time and a blank, which are the kubelet's. A line without them is what the API server writes into
// the log when the node ends it, and is an error.
func readLines(body io.Reader, take func(line) bool) error {
	reader := bufio.NewReaderSize(body, 16*1024)
	for {
		text, cut, err := oneLine(reader)
		if len(text) > 0 {
			stamp, rest, _ := bytes.Cut(text, []byte(" "))
			at, invalid := time.Parse(time.RFC3339Nano, string(stamp))
			if invalid != nil {
				return fmt.Errorf("the log ends with: %.200q", text)
			}
			if !take(line{at: at, text: bytes.TrimSuffix(rest, []byte("\r")), cut: cut}) {
				return nil
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// oneLine returns the beginning of the next line, and how much of it is left out.
func oneLine(reader *bufio.Reader) ([]byte, int64, error) {
	var text []byte
	cut := int64(0)
	for {
		part, err := reader.ReadSlice('\n')
		part = bytes.TrimSuffix(part, []byte("\n"))
		// The time before the line is not counted: it has at most 36 bytes.
		room := min(len(part), lineBytes+36-len(text))
		text = append(text, part[:room]...)
		cut += int64(len(part) - room)
		if !errors.Is(err, bufio.ErrBufferFull) {
			return text, cut, err
		}
	}
}

// limits are those of one container: bytes a second, and bytes beyond that at once.
type limits struct{ rate, burst int64 }

// A bucket says which lines of a container are taken. It counts by the times at which lines were written and not by
// those at which they are read, so that what was held up by a fault is taken whole. One that has run over takes nothing
// until an eighth of it is free again: what is missing is then a few long gaps.
type bucket struct {
	limits limits
	used   int64
	at     time.Time
	closed bool
}

func (b *bucket) takes(item line) bool {
	if b.limits.rate <= 0 {
		return true
	}
	if item.at.After(b.at) {
		if !b.at.IsZero() {
			// Beyond this nothing is left of what was used, whatever a clock has jumped.
			passed := min(item.at.Sub(b.at), time.Duration(b.limits.burst/b.limits.rate+1)*time.Second)
			b.used = max(0, b.used-int64(passed.Seconds()*float64(b.limits.rate)))
		}
		b.at = item.at
	}
	size := int64(len(item.text)) + 1
	room := b.limits.burst - b.used
	b.closed = room < size || b.closed && room < b.limits.burst/8
	if b.closed {
		return false
	}
	b.used += size
	return true
}

// A batch is what a follower sends at once, in the store's form.
type batch struct {
	of          *follower
	head        []byte
	body        bytes.Buffer
	lines       int64
	first, last time.Time

	cut, droppedLines, droppedBytes int64
	dropped                         time.Time // when the last of them was written
	untold                          time.Time // since when they are not told of
}

func newBatch(of *follower) *batch {
	head, err := json.Marshal(of.fields)
	if err != nil {
		panic(err)
	}
	return &batch{of: of, head: head[1 : len(head)-1]}
}

func (b *batch) isFull() bool { return b.body.Len() >= batchBytes || b.lines >= batchLines }

// add takes a line over, unless it is stored already or its container has written too much.
func (b *batch) add(item line) {
	begins := b.of.resuming
	b.of.resuming = false
	// Only at the beginning of a log that is opened again: clocks are set back, too.
	if b.of.skipping && !item.at.After(b.of.last) {
		return
	}
	b.of.skipping = false
	if begins {
		b.tellGap(item.at)
	}
	if b.first.IsZero() {
		b.first = item.at
	}
	b.last = item.at
	if !b.of.bucket.takes(item) {
		if b.droppedLines == 0 {
			b.untold = time.Now()
		}
		b.droppedLines++
		b.droppedBytes += int64(len(item.text)) + item.cut
		b.dropped = item.at
		return
	}
	// What was dropped before this line is told before it.
	b.tellDropped(true)
	more := map[string]string{}
	if item.cut > 0 {
		b.cut++
		more["cut_bytes"] = strconv.FormatInt(item.cut, 10)
	}
	b.write(item.at, item.text, more)
	b.lines++
}

// tellGap writes a line that says that some may be missing before one of that time. A log is read from the last line on
// that is stored, and begins with it, unless the node has put it into another file since: those are not to be had.
func (b *batch) tellGap(before time.Time) {
	text := "lines may be missing here: the node has rotated the log before it was read on"
	b.write(before.Add(-time.Microsecond), []byte(text), map[string]string{"gap": "rotated"})
	b.of.shipper.counts.gaps.Add(1)
}

// tellDropped writes a line that says what was dropped, if something was: when the container's lines are taken again,
// when its log ends, and otherwise after a while. It has the time of the last line of the gap.
func (b *batch) tellDropped(now bool) {
	if b.droppedLines == 0 || !now && time.Since(b.untold) < 10*b.of.shipper.settings.collect {
		return
	}
	text := fmt.Sprintf(
		"%d lines with %d bytes are missing here: the container wrote more than %d bytes a second",
		b.droppedLines, b.droppedBytes, b.of.bucket.limits.rate,
	)
	b.write(b.dropped, []byte(text), map[string]string{
		"dropped_lines": strconv.FormatInt(b.droppedLines, 10),
		"dropped_bytes": strconv.FormatInt(b.droppedBytes, 10),
	})
	b.of.shipper.counts.droppedLines.Add(b.droppedLines)
	b.of.shipper.counts.droppedBytes.Add(b.droppedBytes)
	b.droppedLines, b.droppedBytes = 0, 0
}

// write adds an entry. The text is one JSON string: nothing in it becomes a field, and bytes that are no UTF-8 become
// the replacement character.
func (b *batch) write(at time.Time, text []byte, more map[string]string) {
	b.body.WriteString(`{"_time":"`)
	b.body.WriteString(at.UTC().Format(time.RFC3339Nano))
	b.body.WriteString(`",`)
	b.body.Write(b.head)
	for _, name := range []string{"cut_bytes", "dropped_lines", "dropped_bytes", "gap"} {
		if value, is := more[name]; is {
			fmt.Fprintf(&b.body, `,"%s":"%s"`, name, value)
		}
	}
	b.body.WriteString(`,"_msg":`)
	encoder := json.NewEncoder(&b.body)
	encoder.SetEscapeHTML(false)
	// It cannot fail for a string. What it writes ends with a line feed.
	_ = encoder.Encode(string(text))
	b.body.Truncate(b.body.Len() - 1)
	b.body.WriteString("}\n")
}

// taken empties the batch when it is stored.
func (b *batch) taken() {
	b.of.shipper.counts.lines.Add(b.lines)
	b.of.shipper.counts.cut.Add(b.cut)
	if b.body.Cap() > 2*batchBytes {
		b.body = bytes.Buffer{}
	}
	b.body.Reset()
	b.lines, b.cut, b.first, b.last = 0, 0, time.Time{}, time.Time{}
}
