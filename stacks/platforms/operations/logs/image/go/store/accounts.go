package store

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

// An account reads the logs of one tenant. Requests are how many of it are answered at a time. Locked is when its use
// has ended, in seconds since 1970, or 0.
type account struct {
	Name     string `json:"name"`
	Tenant   string `json:"tenant"`
	Owner    string `json:"owner"`
	SHA256   string `json:"sha256"`
	Requests int64  `json:"requests"`
	Locked   int64  `json:"locked"`
}

// Accounts are those of apps, in a file that is written whole and put in its place.
type accounts struct {
	path  string
	mutex sync.RWMutex
	known map[string]account
}

var (
	errOwner   = errors.New("the account is another owner's")
	nameForm   = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$`)
	tenantForm = regexp.MustCompile(`^[a-z0-9]([-a-z0-9.]{0,61}[a-z0-9])?$`)
	ownerForm  = regexp.MustCompile(`^[a-z0-9.-]+/[A-Za-z0-9._-]+/[A-Za-z0-9._-]+$`)
	digestForm = regexp.MustCompile(`^[0-9a-f]{64}$`)
)

func openAccounts(path string) (*accounts, error) {
	found := &accounts{path: path, known: map[string]account{}}
	text, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return found, nil
	}
	if err != nil {
		return nil, err
	}
	var list []account
	if err := json.Unmarshal(text, &list); err != nil {
		return nil, fmt.Errorf("%s has no accounts that can be read: %w", path, err)
	}
	for _, item := range list {
		found.known[item.Name] = item
	}
	return found, nil
}

// put opens an account, or changes its password and limit. One of another owner stays as it is.
func (a *accounts) put(item account) error {
	if !nameForm.MatchString(item.Name) || !tenantForm.MatchString(item.Tenant) || !digestForm.MatchString(item.SHA256) ||
		item.Requests < 1 {
		return fmt.Errorf("account %.80q of tenant %.80q: names, digest or limit are not valid", item.Name, item.Tenant)
	}
	if group, _, _ := strings.Cut(item.Owner, "/"); !ownerForm.MatchString(item.Owner) || group != item.Tenant {
		return fmt.Errorf("the owner %.200q is not of tenant %q", item.Owner, item.Tenant)
	}
	a.mutex.Lock()
	defer a.mutex.Unlock()
	if old, is := a.known[item.Name]; is && old.Owner != item.Owner {
		return errOwner
	}
	return a.with(item)
}

// lock keeps whoever has the account's password out. A repetition keeps the time of the first lock.
func (a *accounts) lock(name, owner string) error {
	a.mutex.Lock()
	defer a.mutex.Unlock()
	item, is := a.known[name]
	if !is || item.Owner != owner || item.Locked != 0 {
		return nil
	}
	item.Locked = time.Now().Unix()
	return a.with(item)
}

func (a *accounts) remove(name, owner string) error {
	a.mutex.Lock()
	defer a.mutex.Unlock()
	if item, is := a.known[name]; !is || item.Owner != owner {
		return nil
	}
	return a.save(func(all map[string]account) { delete(all, name) })
}

func (a *accounts) list() []account {
	a.mutex.RLock()
	defer a.mutex.RUnlock()
	return sorted(a.known)
}

// find returns the account of that name; false for a wrong name or password and for a locked account.
func (a *accounts) find(name, password string) (account, bool) {
	a.mutex.RLock()
	item := a.known[name]
	a.mutex.RUnlock()
	return item, matches(item.SHA256, password) && item.Locked == 0
}

func (a *accounts) with(item account) error {
	return a.save(func(all map[string]account) { all[item.Name] = item })
}

// save writes the accounts as change leaves them; they hold once they are on the volume.
func (a *accounts) save(change func(map[string]account)) error {
	next := map[string]account{}
	for name, item := range a.known {
		next[name] = item
	}
	change(next)
	text, err := json.Marshal(sorted(next))
	if err != nil {
		return err
	}
	if err := replace(a.path, text); err != nil {
		return fmt.Errorf("the accounts could not be stored: %w", err)
	}
	a.known = next
	return nil
}

func sorted(all map[string]account) []account {
	list := make([]account, 0, len(all))
	for _, item := range all {
		list = append(list, item)
	}
	sort.Slice(list, func(i, j int) bool { return list[i].Name < list[j].Name })
	return list
}

// replace writes a file so that a crash leaves the old content or the new one.
func replace(path string, text []byte) error {
	file, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".")
	if err != nil {
		return err
	}
	defer os.Remove(file.Name())
	_, err = file.Write(text)
	err = errors.Join(err, file.Sync(), file.Close())
	if err != nil {
		return err
	}
	return os.Rename(file.Name(), path)
}

// digest returns the SHA-256 of a password in hexadecimal digits. Passwords are generated, and cannot be guessed.
func digest(password string) string {
	sum := sha256.Sum256([]byte(password))
	return hex.EncodeToString(sum[:])
}

// ShipperPassword is the password of the shippers, which follows from the administrator's.
func ShipperPassword(admin string) string { return digest("shipper:" + admin) }

func matches(wanted, password string) bool {
	return wanted != "" && subtle.ConstantTimeCompare([]byte(wanted), []byte(digest(password))) == 1
}
