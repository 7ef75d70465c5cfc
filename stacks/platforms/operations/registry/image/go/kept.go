package main

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/distribution/distribution/v3"
	"github.com/distribution/distribution/v3/registry/storage"
	"github.com/distribution/distribution/v3/registry/storage/driver"
	"github.com/distribution/distribution/v3/registry/storage/driver/factory"
	_ "github.com/distribution/distribution/v3/registry/storage/driver/filesystem"
)

// kept is what the registry keeps on the volume. Layers that several repositories name are there once, and count for
// each tenant that names them.
type kept struct {
	directory string
	driver    driver.StorageDriver
	registry  distribution.Namespace
	mutex     sync.Mutex
	counted   map[string]count
	// Held for reading by what copies all content, and for writing by what restores it or collects garbage.
	content sync.RWMutex
	// The bytes that are free on the volume of a directory, and all.
	space func(directory string) (free, size int64)
}

type count struct {
	bytes int64
	since time.Time
}

func openKept(ctx context.Context, directory string) (*kept, error) {
	if err := os.MkdirAll(directory, 0o700); err != nil {
		return nil, err
	}
	storing, err := factory.Create(ctx, "filesystem", map[string]any{"rootdirectory": directory})
	if err != nil {
		return nil, err
	}
	registry, err := storage.NewRegistry(ctx, storing)
	if err != nil {
		return nil, err
	}
	return &kept{
		directory: directory, driver: storing, registry: registry, counted: map[string]count{}, space: statfs,
	}, nil
}

func (k *kept) root() string { return filepath.Join(k.directory, "docker/registry/v2") }

func (k *kept) repositories() string { return filepath.Join(k.root(), "repositories") }

func (k *kept) free() int64 {
	free, _ := k.space(k.directory)
	return free
}

// isShort is whether less than a tenth of the volume is free.
func (k *kept) isShort() bool {
	free, size := k.space(k.directory)
	return free < size/10
}

// used is how many bytes the repositories of a tenant take, with what is being pushed.
func (k *kept) used(tenant string) (int64, error) {
	k.mutex.Lock()
	defer k.mutex.Unlock()
	found, ok := k.counted[tenant]
	if ok && time.Since(found.since) < recent {
		return found.bytes, nil
	}
	bytes, err := k.count(filepath.Join(k.repositories(), tenant))
	if err != nil {
		return 0, err
	}
	k.counted[tenant] = count{bytes, time.Now()}
	return bytes, nil
}

// took adds what has come for a tenant since its repositories were counted.
func (k *kept) took(tenant string, bytes int64) {
	k.mutex.Lock()
	defer k.mutex.Unlock()
	found := k.counted[tenant]
	found.bytes += bytes
	k.counted[tenant] = found
}

// count adds the sizes of what repositories under a directory name, each once, and of what is being pushed to them.
func (k *kept) count(directory string) (bytes int64, err error) {
	seen := map[string]bool{}
	err = filepath.WalkDir(directory, func(path string, entry fs.DirEntry, err error) error {
		switch {
		case errors.Is(err, fs.ErrNotExist):
			// It has ended since its directory was read.
			return nil
		case err != nil:
			return err
		case entry.IsDir():
			if entry.Name() == "tags" && filepath.Base(filepath.Dir(path)) == "_manifests" {
				return fs.SkipDir
			}
			return nil
		}
		place := path
		if entry.Name() == "link" {
			digest := filepath.Base(filepath.Dir(path))
			if seen[digest] || len(digest) < 2 {
				return nil
			}
			seen[digest] = true
			place = filepath.Join(k.root(), "blobs", filepath.Base(filepath.Dir(filepath.Dir(path))), digest[:2], digest, "data")
		}
		if info, err := os.Stat(place); err == nil {
			bytes += info.Size()
		}
		return nil
	})
	return bytes, err
}

// forget removes the repositories of a tenant. What they alone named goes when garbage is collected.
func (k *kept) forget(tenant string) error {
	if tenant == "" || strings.ContainsAny(tenant, "/.") {
		return errors.New("no tenant has this name")
	}
	k.mutex.Lock()
	delete(k.counted, tenant)
	k.mutex.Unlock()
	return os.RemoveAll(filepath.Join(k.repositories(), tenant))
}

// collect removes what no manifest names, and says how many bytes that frees. Nothing may be pushed meanwhile: the
// layers of an image are there before its manifest.
func (k *kept) collect(ctx context.Context) (int64, error) {
	before, err := k.blobs()
	if err != nil {
		return 0, err
	}
	if err := k.complete(); err != nil {
		return 0, err
	}
	if err := storage.MarkAndSweep(ctx, k.driver, k.registry, storage.GCOpts{Quiet: true}); err != nil {
		return 0, err
	}
	k.mutex.Lock()
	clear(k.counted)
	k.mutex.Unlock()
	after, err := k.blobs()
	return before - after, err
}

// complete makes the directories without which the collector fails: a repository to which nothing but a part of a layer
// was pushed has none for layers.
func (k *kept) complete() error {
	for _, place := range []string{k.repositories(), filepath.Join(k.root(), "blobs")} {
		if err := os.MkdirAll(place, 0o700); err != nil {
			return err
		}
	}
	return filepath.WalkDir(k.repositories(), func(path string, entry fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil || !entry.IsDir() || !strings.HasPrefix(entry.Name(), "_") {
			return err
		}
		return skipped(os.MkdirAll(filepath.Join(filepath.Dir(path), "_layers"), 0o700))
	})
}

func (k *kept) blobs() (bytes int64, err error) {
	err = filepath.WalkDir(filepath.Join(k.root(), "blobs"), func(_ string, entry fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil || entry.IsDir() {
			return err
		}
		if info, err := entry.Info(); err == nil {
			bytes += info.Size()
		}
		return nil
	})
	return bytes, err
}

// skipped leaves out the rest of a directory unless something has failed.
func skipped(err error) error {
	if err != nil {
		return err
	}
	return fs.SkipDir
}
