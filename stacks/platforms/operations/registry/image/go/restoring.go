package main

import (
	"crypto/sha256"
	"crypto/sha512"
	"errors"
	"hash"
	"log"
	"net/http"
	"time"

	"golang.org/x/sys/unix"
)

var errCopying = errors.New("another one copies the content of the registry, or restores it")

// copying adds the addresses with which the content is backed up and restored.
func (d *door) copying(mux *http.ServeMux) {
	mux.HandleFunc("GET /content", func(w http.ResponseWriter, _ *http.Request) {
		if !d.kept.content.TryRLock() {
			refuse(w, http.StatusConflict, "DENIED", errCopying.Error())
			return
		}
		defer d.kept.content.RUnlock()
		w.Header().Set("Content-Type", "application/x-tar")
		if err := d.kept.write(w); err != nil {
			log.Printf("the content is not copied: %v", err)
			// The connection is cut, so that the client does not take it for whole.
			panic(http.ErrAbortHandler)
		}
	})
	mux.HandleFunc("GET /content/occupied", func(w http.ResponseWriter, _ *http.Request) {
		switch err := d.kept.occupied(); {
		case errors.Is(err, errNamed):
			refuse(w, http.StatusConflict, "DENIED", err.Error())
		case err != nil:
			refuse(w, http.StatusInternalServerError, "UNKNOWN", err.Error())
		default:
			w.WriteHeader(http.StatusNoContent)
		}
	})
	mux.HandleFunc("POST /content", func(w http.ResponseWriter, r *http.Request) {
		switch err := d.restore(r); {
		case errors.Is(err, errCopying), errors.Is(err, errPushing):
			refuse(w, http.StatusConflict, "DENIED", err.Error())
		case err != nil:
			refuse(w, http.StatusBadRequest, "DENIED", err.Error())
		default:
			w.WriteHeader(http.StatusNoContent)
		}
	})
}

// restore takes the content from a request. Until it is whole, repositories stay as they are.
func (d *door) restore(r *http.Request) error {
	// Layers that nothing names yet would be collected.
	if !d.kept.content.TryLock() {
		return errCopying
	}
	defer d.kept.content.Unlock()
	// Layers of a stream that was cut.
	defer d.counters.deleted()
	if err := d.kept.read(r.Body); err != nil {
		return err
	}
	// Not waited for in the lock itself: all others would wait with it.
	for range 600 {
		if d.pushing.TryLock() {
			defer d.pushing.Unlock()
			return d.kept.replace()
		}
		time.Sleep(100 * time.Millisecond)
	}
	return errPushing
}

func hashOf(algorithm string) hash.Hash {
	if algorithm == "sha512" {
		return sha512.New()
	}
	return sha256.New()
}

// exchange makes two directories change places in one step.
func exchange(one, other string) error {
	return unix.Renameat2(unix.AT_FDCWD, one, unix.AT_FDCWD, other, unix.RENAME_EXCHANGE)
}
