package main

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"
)

// native is a block as the store exports it.
func native(name, content string) []byte {
	block := binary.BigEndian.AppendUint32(nil, uint32(len(name)))
	block = append(block, name...)
	block = binary.BigEndian.AppendUint32(block, uint32(len(content)))
	return append(block, content...)
}

// answering is a client of a server that exports these blocks for the last day, and keeps what is imported.
func answering(t *testing.T, blocks func() []byte, taken *[][]byte, failing int) *client {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/api/v1/export/native":
			_, _ = w.Write(bytes.Repeat([]byte("t"), 16))
			if strings.HasPrefix(r.URL.Query().Get("start"), "86400.") {
				_, _ = w.Write(blocks())
			}
		case "/api/v1/import/native":
			content, _ := io.ReadAll(r.Body)
			if failing > 0 {
				failing--
				w.WriteHeader(http.StatusServiceUnavailable)
				return
			}
			*taken = append(*taken, content)
		case "/metrics":
			fmt.Fprintln(w, "vm_hourly_series_limit_rows_dropped_total 3\nvm_hourly_series_limit_rows_dropped_total_of 9")
		}
	}))
	t.Cleanup(server.Close)
	return &client{address: server.URL, http: server.Client(), pause: time.Millisecond}
}

func TestTheSameBlocksAreTheSameBytesAndComeBack(t *testing.T) {
	blocks := [][]byte{native("b", "2"), native("a", "1"), native("c", "")}
	taken := [][]byte{}
	store := answering(t, func() []byte {
		slices.Reverse(blocks)
		return slices.Concat(blocks...)
	}, &taken, 2)
	until := time.Unix(2*day+5, 0)
	var first, second bytes.Buffer
	for _, stream := range []*bytes.Buffer{&first, &second} {
		if err := store.dump(t.Context(), until, 2, stream); err != nil {
			t.Fatal(err)
		}
	}
	if !bytes.Equal(first.Bytes(), second.Bytes()) {
		t.Error("blocks in another order are other bytes, which no backup would find again")
	}
	changes := 0
	changing := func() error { changes++; return nil }
	if err := store.restore(t.Context(), bytes.NewReader(first.Bytes()), true, 2, changing); err != nil || changes != 1 {
		t.Fatal(err, changes)
	}
	wanted := slices.Concat(bytes.Repeat([]byte("t"), 16), native("a", "1"), native("b", "2"), native("c", ""))
	if len(taken) != 1 || !bytes.Equal(taken[0], wanted) {
		t.Errorf("%q was imported", taken)
	}
	for cut := range first.Len() {
		if err := store.restore(t.Context(), bytes.NewReader(first.Bytes()[:cut]), true, 2, changing); err == nil {
			t.Fatalf("a stream of %d bytes is taken for whole", cut)
		}
		if cut > 40 {
			break
		}
	}
	if err := store.restore(t.Context(), bytes.NewReader(first.Bytes()[:first.Len()-1]), true, 2, changing); err == nil {
		t.Error("a stream without its end is taken for whole")
	}
}

func TestAnExportThatIsCutIsNoBackup(t *testing.T) {
	taken := [][]byte{}
	for _, cut := range []int{1, 3, 6, 9, 13} {
		whole := slices.Concat(native("a", "1"), native("b", "22"))
		store := answering(t, func() []byte { return whole[:len(whole)-cut] }, &taken, 0)
		err := store.dump(t.Context(), time.Unix(2*day+5, 0), 2, io.Discard)
		if !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("without its last %d bytes: %v", cut, err)
		}
	}
}
