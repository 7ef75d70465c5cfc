package main

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"sort"
	"strings"
	"sync"
	"time"
)

var (
	errOwner = errors.New("the account is another owner's")
	names    = regexp.MustCompile(`^[a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?$`)
	owners   = regexp.MustCompile(`^[a-z0-9-]+/[A-Za-z0-9._-]+/[A-Za-z0-9._-]+$`)
)

// digest is the SHA-256 of a password. Passwords are generated and long, so that nothing slower is needed.
type digest [sha256.Size]byte

func digestOf(password string) digest { return sha256.Sum256([]byte(password)) }

func (d digest) fits(password string) bool {
	other := digestOf(password)
	return subtle.ConstantTimeCompare(d[:], other[:]) == 1
}

// account is who may push to and pull from the repositories of its tenant. Storage is what it adds to the bytes that
// these repositories may take. Locked is when it was locked, in seconds since 1970.
type account struct {
	Name     string `json:"name"`
	Owner    string `json:"owner"`
	Tenant   string `json:"tenant"`
	Storage  int64  `json:"storage"`
	Password string `json:"sha256"`
	Locked   int64  `json:"locked"`
}

// app is the app that the account is for: its owner is TENANT/APP/NAME of the use. It is empty for the city's own.
func (a account) app() string {
	if parts := strings.SplitN(a.Owner, "/", 3); len(parts) == 3 {
		return parts[1]
	}
	return ""
}

func (a account) fits(password string) bool {
	var known digest
	if raw, err := hex.DecodeString(a.Password); err != nil || copy(known[:], raw) != len(known) {
		return false
	}
	return a.Locked == 0 && known.fits(password)
}

// accounts are kept as one file each, written anew and put in place of the old one.
type accounts struct {
	directory string
	mutex     sync.RWMutex
	known     map[string]account
}

func openAccounts(directory string) (*accounts, error) {
	if err := os.MkdirAll(directory, 0o700); err != nil {
		return nil, err
	}
	files, err := filepath.Glob(filepath.Join(directory, "*.json"))
	if err != nil {
		return nil, err
	}
	result := &accounts{directory: directory, known: map[string]account{}}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		var item account
		if err := json.Unmarshal(text, &item); err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		if file != result.file(item.Name) {
			return nil, fmt.Errorf("%s: it has account %q", file, item.Name)
		}
		result.known[item.Name] = item
	}
	return result, nil
}

func (a *accounts) file(name string) string { return filepath.Join(a.directory, name+".json") }

// find returns the account if the password is its own and it is not locked.
func (a *accounts) find(name, password string) (account, bool) {
	a.mutex.RLock()
	item, ok := a.known[name]
	a.mutex.RUnlock()
	return item, ok && item.fits(password)
}

// put makes or opens an account. One of another owner stays as it is.
func (a *accounts) put(item account, password string) error {
	if !names.MatchString(item.Name) || !owners.MatchString(item.Owner) {
		return fmt.Errorf("%q of %q is no account", item.Name, item.Owner)
	}
	if len(password) < 16 {
		return errors.New("the password is too short")
	}
	if group, _, _ := strings.Cut(item.Owner, "/"); item.Tenant != group || group == "capability" {
		return fmt.Errorf("the owner %q is not of tenant %q", item.Owner, item.Tenant)
	}
	if item.Tenant == city {
		return fmt.Errorf("repositories under %s/ are the city's own: no tenant of this name gets an account", city)
	}
	if item.Storage < 1 {
		return errors.New("the limit of storage is less than a byte")
	}
	a.mutex.Lock()
	defer a.mutex.Unlock()
	if old, ok := a.known[item.Name]; ok && old.Owner != item.Owner {
		return errOwner
	}
	sum := digestOf(password)
	item.Password = hex.EncodeToString(sum[:])
	return a.write(item)
}

// limit is how many bytes the repositories of a tenant may take: the limits of its open accounts together.
func (a *accounts) limit(tenant string) (bytes int64) {
	a.mutex.RLock()
	defer a.mutex.RUnlock()
	for _, item := range a.known {
		if item.Tenant == tenant && item.Locked == 0 {
			bytes += item.Storage
		}
	}
	return bytes
}

// lock takes an account's password away. It keeps the time of the first lock.
func (a *accounts) lock(name, owner string) error {
	a.mutex.Lock()
	defer a.mutex.Unlock()
	item, ok := a.known[name]
	if !ok || item.Owner != owner {
		return nil
	}
	if item.Locked == 0 {
		item.Locked = time.Now().Unix()
	}
	item.Password = ""
	return a.write(item)
}

// remove forgets an account. It returns its tenant if that has no other account.
func (a *accounts) remove(name, owner string) (last string, err error) {
	a.mutex.Lock()
	defer a.mutex.Unlock()
	item, ok := a.known[name]
	if !ok || item.Owner != owner {
		return "", nil
	}
	if err := os.Remove(a.file(name)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return "", err
	}
	delete(a.known, name)
	for _, other := range a.known {
		if other.Tenant == item.Tenant {
			return "", nil
		}
	}
	return item.Tenant, nil
}

func (a *accounts) list() []account {
	a.mutex.RLock()
	defer a.mutex.RUnlock()
	found := make([]account, 0, len(a.known))
	for _, item := range a.known {
		found = append(found, item)
	}
	sort.Slice(found, func(i, j int) bool { return found[i].Name < found[j].Name })
	return found
}

func (a *accounts) write(item account) error {
	text, err := json.Marshal(item)
	if err != nil {
		return err
	}
	file, err := os.CreateTemp(a.directory, ".account-*")
	if err != nil {
		return err
	}
	defer os.Remove(file.Name())
	_, err = file.Write(text)
	if err = errors.Join(err, file.Sync(), file.Close()); err != nil {
		return err
	}
	if err := os.Rename(file.Name(), a.file(item.Name)); err != nil {
		return err
	}
	a.known[item.Name] = item
	return nil
}
