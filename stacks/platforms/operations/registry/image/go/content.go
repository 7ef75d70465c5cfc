package main

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// The registry's content is written as a tar archive: first what repositories name, which are small files with digests,
// and then the layers and manifests that these digests are of. Whoever pushes writes in the other order, so that all
// that is named is there while pushes go on.
const (
	named, blobs = "repositories", "blobs"
	// What follows the archive when it was read to its end, and was genuine.
	whole = "whole\n"
)

var (
	errDamaged = errors.New("the stream ends before its end")
	errNamed   = errors.New("a tenant has images")
	digests    = regexp.MustCompile(`^(sha256|sha512):[0-9a-f]{64,128}$`)
)

// write writes the content. Nothing may collect garbage meanwhile.
func (k *kept) write(stream io.Writer) error {
	archive, wanted := tar.NewWriter(stream), map[string]bool{}
	// A tag names a manifest, which was there before, and that names layers.
	for _, kind := range []string{"/_manifests/tags/", "/_manifests/revisions/", "/_layers/"} {
		err := k.links(k.repositories(), kind, func(place, name string) error {
			text, err := os.ReadFile(place)
			if errors.Is(err, fs.ErrNotExist) {
				return nil
			}
			if err != nil {
				return err
			}
			if !digests.Match(text) {
				return fmt.Errorf("%s has no digest", place)
			}
			wanted[string(text)] = wanted[string(text)] || kind != "/_layers/"
			return add(archive, path.Join(named, name), int64(len(text)), strings.NewReader(string(text)))
		})
		if err != nil {
			return err
		}
	}
	for _, digest := range slices.Sorted(maps.Keys(wanted)) {
		file, err := os.Open(filepath.Join(k.root(), blob(digest)))
		if errors.Is(err, fs.ErrNotExist) && !wanted[digest] {
			// Of a layer that was collected the name may stay.
			continue
		}
		if err != nil {
			return err
		}
		info, err := file.Stat()
		if err == nil {
			err = add(archive, blob(digest), info.Size(), file)
		}
		if err = errors.Join(err, file.Close()); err != nil {
			return err
		}
	}
	return archive.Close()
}

// links calls `do` for the files of a kind below a directory, in order, with their places and names in it.
func (k *kept) links(directory, kind string, do func(place, name string) error) error {
	return filepath.WalkDir(directory, func(place string, entry fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil || entry.IsDir() || entry.Name() != "link" || !strings.Contains(place, kind) {
			return err
		}
		name, err := filepath.Rel(directory, place)
		if err != nil {
			return err
		}
		return do(place, name)
	})
}

// blob is the place of what has this digest, below the root.
func blob(digest string) string {
	algorithm, sum, _ := strings.Cut(digest, ":")
	return filepath.Join(blobs, algorithm, sum[:2], sum, "data")
}

func add(archive *tar.Writer, name string, size int64, content io.Reader) error {
	if err := archive.WriteHeader(&tar.Header{Name: name, Size: size, Mode: 0o600}); err != nil {
		return err
	}
	_, err := io.Copy(archive, content)
	return err
}

// occupied returns `errNamed` if a repository of a tenant names an image. The city pushes its own by itself.
func (k *kept) occupied() error {
	return k.links(k.repositories(), "/_manifests/", func(_, name string) error {
		if strings.HasPrefix(name, city+"/") {
			return nil
		}
		return errNamed
	})
}

// staging is where content is until it is whole. It is on the volume of the content.
func (k *kept) staging() string { return filepath.Join(k.directory, "restoring") }

// read reads what write has written: layers to their places, where nothing names them yet, and what repositories name
// to the staging directory.
func (k *kept) read(stream io.Reader) error {
	if err := os.RemoveAll(k.staging()); err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Join(k.staging(), named), 0o700); err != nil {
		return err
	}
	archive := tar.NewReader(stream)
	for {
		header, err := archive.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return errors.Join(errDamaged, err)
		}
		kind, rest, _ := strings.Cut(header.Name, "/")
		switch {
		case header.Typeflag != tar.TypeReg || !filepath.IsLocal(header.Name) || rest == "":
			err = fmt.Errorf("%q is no part of a registry", header.Name)
		case k.free() < reserve+header.Size:
			err = errors.New("the volume of the registry is too small for the backup")
		case kind == named:
			err = k.readLink(header.Name, archive)
		case kind == blobs:
			err = k.readBlob(header.Name, archive)
		default:
			err = fmt.Errorf("%q is no part of a registry", header.Name)
		}
		if err != nil {
			return err
		}
	}
	rest, err := io.ReadAll(io.LimitReader(stream, 1<<20))
	if err != nil || strings.TrimLeft(string(rest), "\x00") != whole {
		return errDamaged
	}
	return nil
}

func (k *kept) readLink(name string, content io.Reader) error {
	text, err := io.ReadAll(io.LimitReader(content, 256))
	if err != nil {
		return errors.Join(errDamaged, err)
	}
	if !digests.Match(text) {
		return fmt.Errorf("%q has no digest", name)
	}
	place := filepath.Join(k.staging(), name)
	if err := os.MkdirAll(filepath.Dir(place), 0o700); err != nil {
		return err
	}
	return os.WriteFile(place, text, 0o600)
}

// readBlob puts what has the digest of its name in its place. What is there stays.
func (k *kept) readBlob(name string, content io.Reader) error {
	parts := strings.Split(name, "/")
	if len(parts) != 5 || !digests.MatchString(parts[1]+":"+parts[3]) || blob(parts[1]+":"+parts[3]) != name {
		return fmt.Errorf("%q is no place of a layer", name)
	}
	file, err := os.CreateTemp(k.staging(), "layer-*")
	if err != nil {
		return err
	}
	defer os.Remove(file.Name())
	sum := hashOf(parts[1])
	_, err = io.Copy(io.MultiWriter(file, sum), content)
	if err = errors.Join(err, file.Sync(), file.Close()); err != nil {
		return err
	}
	if found := fmt.Sprintf("%x", sum.Sum(nil)); found != parts[3] {
		return fmt.Errorf("a layer has the digest %s and not %s", found, parts[3])
	}
	place := filepath.Join(k.root(), name)
	if err := os.MkdirAll(filepath.Dir(place), 0o700); err != nil {
		return err
	}
	return os.Rename(file.Name(), place)
}

// replace puts the repositories of the staging directory in the place of all tenants', in one step, and adds what the
// city's own name now. Nothing may be pushed meanwhile.
func (k *kept) replace() error {
	fresh := filepath.Join(k.staging(), named)
	if err := os.MkdirAll(k.repositories(), 0o700); err != nil {
		return err
	}
	own := filepath.Join(k.repositories(), city)
	err := k.links(own, "/_", func(place, name string) error {
		target := filepath.Join(fresh, city, name)
		if err := os.MkdirAll(filepath.Dir(target), 0o700); err != nil {
			return err
		}
		if err := os.Remove(target); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		return os.Link(place, target)
	})
	if err != nil {
		return err
	}
	if err := exchange(fresh, k.repositories()); err != nil {
		return err
	}
	k.mutex.Lock()
	clear(k.counted)
	k.mutex.Unlock()
	return os.RemoveAll(k.staging())
}
