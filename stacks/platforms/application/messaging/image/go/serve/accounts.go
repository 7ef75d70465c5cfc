package serve

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"golang.org/x/crypto/bcrypt"
)

// An Account is an app's: an account of the NATS server with the one user of the same name. Connections are how many it
// has open at a time, Storage and Memory the bytes of its streams in files and in memory. Hash is that of the user's
// password, empty for an account that is locked or was restored. Locked is when it was locked, in seconds since 1970.
type Account struct {
	Name        string `json:"name"`
	Owner       string `json:"owner"`
	Connections int64  `json:"connections"`
	Storage     int64  `json:"storage"`
	Memory      int64  `json:"memory"`
	Hash        string `json:"hash,omitempty"`
	Locked      int64  `json:"locked"`
}

// labels are the tenant and the app that use the account; both are empty where a capability of the city does.
func (a Account) labels() (tenant, app string) {
	parts := strings.SplitN(a.Owner, "/", 3)
	if len(parts) != 3 || parts[0] == "capability" {
		return "", ""
	}
	return parts[0], parts[1]
}

const (
	// The least that a password has, and the most that its hash looks at. It is generated, so that a hash that is dear
	// to compute would protect it no better: the server computes one for each connection.
	passwordLeast, passwordMost = 12, 72
	// Who is not known is written as this by the scripts of all capabilities.
	unknownOwner = "-"
)

var (
	errOwner  = errors.New("the account is another owner's")
	nameForm  = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$`)
	ownerForm = regexp.MustCompile(`^[a-z0-9.-]+/[A-Za-z0-9._-]+/[A-Za-z0-9._-]+$`)
)

// accounts are kept in one file that is written whole and put in the place of the old one. Whoever uses them holds a
// lock.
type accounts struct {
	path  string
	known map[string]Account
	// The bytes that the limits of all accounts together may have, locked ones included.
	storage, memory int64
}

func openAccounts(path string, storage, memory int64) (*accounts, error) {
	found := &accounts{path: path, known: map[string]Account{}, storage: storage, memory: memory}
	text, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return found, nil
	}
	if err != nil {
		return nil, err
	}
	var list []Account
	if err := json.Unmarshal(text, &list); err != nil {
		return nil, fmt.Errorf("%s has no accounts that can be read: %w", path, err)
	}
	for _, item := range list {
		found.known[item.Name] = item
	}
	return found, nil
}

// put makes an account, opens one that was locked, or changes its password and limits. With an empty password one that
// is there keeps what it has, and a new one is locked since `now`.
func (a *accounts) put(item Account, password string, now int64) error {
	if !nameForm.MatchString(item.Name) || !strings.Contains(item.Name, ".") {
		return fmt.Errorf("%.80q is no name of an account", item.Name)
	}
	if item.Owner != unknownOwner && !ownerForm.MatchString(item.Owner) {
		return fmt.Errorf("%.200q is no owner of an account", item.Owner)
	}
	if item.Connections < 1 || item.Storage < 1 || item.Memory < 0 {
		return fmt.Errorf("account %s: it needs a connection and a byte of storage at least", item.Name)
	}
	old, is := a.known[item.Name]
	if is && item.Owner != unknownOwner && old.Owner != unknownOwner && old.Owner != item.Owner {
		return errOwner
	}
	if is && item.Owner == unknownOwner {
		item.Owner = old.Owner
	}
	if err := a.fits(item); err != nil {
		return err
	}
	switch {
	case password != "":
		if len(password) < passwordLeast || len(password) > passwordMost {
			return fmt.Errorf("a password has %d to %d bytes", passwordLeast, passwordMost)
		}
		item.Locked = 0
		// The hash of the same password stays: the server ends the sessions of a user whose hash has changed.
		if item.Hash = old.Hash; bcrypt.CompareHashAndPassword([]byte(old.Hash), []byte(password)) != nil {
			hash, err := bcrypt.GenerateFromPassword([]byte(password), bcrypt.MinCost)
			if err != nil {
				return err
			}
			item.Hash = string(hash)
		}
	case is:
		return nil
	default:
		item.Hash, item.Locked = "", now
	}
	return a.with(item)
}

// fits refuses limits with which the accounts together could fill the volume or the memory: then each would have less
// than what it was promised.
func (a *accounts) fits(item Account) error {
	storage, memory := item.Storage, item.Memory
	for _, other := range a.known {
		if other.Name != item.Name {
			storage += other.Storage
			memory += other.Memory
		}
	}
	for _, sum := range []struct {
		what        string
		bytes, most int64
	}{{"storage", storage, a.storage}, {"memory", memory, a.memory}} {
		if sum.bytes > sum.most {
			return fmt.Errorf(
				"account %s: with it, the limits of %s of all accounts come to %d bytes, and there are %d for them: state a "+
					"smaller limit for a use, give the capability more, or delete accounts that are locked",
				item.Name, sum.what, sum.bytes, sum.most)
		}
	}
	return nil
}

// lock takes an account's password away. It keeps the time of the first lock. It does nothing for one that is not there
// or another owner's.
func (a *accounts) lock(name, owner string, now int64) error {
	item, is := a.find(name, owner)
	if !is {
		return nil
	}
	if item.Locked == 0 {
		item.Locked = now
	}
	item.Hash = ""
	return a.with(item)
}

// find returns an account; none if it is another owner's.
func (a *accounts) find(name, owner string) (Account, bool) {
	item, is := a.known[name]
	return item, is && (owner == unknownOwner || item.Owner == unknownOwner || item.Owner == owner)
}

func (a *accounts) remove(name string) error {
	old, is := a.known[name]
	if !is {
		return nil
	}
	delete(a.known, name)
	if err := a.write(); err != nil {
		a.known[name] = old
		return err
	}
	return nil
}

func (a *accounts) list() []Account {
	found := make([]Account, 0, len(a.known))
	for _, item := range a.known {
		found = append(found, item)
	}
	slices.SortFunc(found, func(x, y Account) int { return strings.Compare(x.Name, y.Name) })
	return found
}

// with keeps an account, in the file first.
func (a *accounts) with(item Account) error {
	old, is := a.known[item.Name]
	a.known[item.Name] = item
	err := a.write()
	if err != nil && is {
		a.known[item.Name] = old
	} else if err != nil {
		delete(a.known, item.Name)
	}
	return err
}

func (a *accounts) write() error {
	text, err := json.Marshal(a.list())
	if err != nil {
		return err
	}
	return replaceFile(a.path, text)
}

// replaceFile writes a file whole and puts it in the place of the one before.
func replaceFile(path string, text []byte) error {
	file, err := os.CreateTemp(filepath.Dir(path), ".new-*")
	if err != nil {
		return err
	}
	defer os.Remove(file.Name())
	_, err = file.Write(text)
	if err = errors.Join(err, file.Sync(), file.Close()); err != nil {
		return err
	}
	return os.Rename(file.Name(), path)
}
