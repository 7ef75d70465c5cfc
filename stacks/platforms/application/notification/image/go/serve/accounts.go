package serve

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"fmt"
	"regexp"

	"github.com/jackc/pgx/v5"
)

// An account is that of an app's use. AtOnce are how many of its messages are sent by one channel at a time, Storage the
// bytes that its messages may take, Used those that they take. Locked is when its use has ended, in seconds since 1970,
// or 0.
type account struct {
	Name, Owner, Tenant, App, SHA256 string
	AtOnce                           int
	Storage, Locked, Used            int64
}

const accountColumns = `name, owner, tenant, app, sha256, at_once, storage, locked, used`

const (
	passwordLeast = 12
	atOnceMost    = 16
	prober        = "probe"
)

var (
	errOwner  = errors.New("the account is another owner's")
	nameForm  = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$`)
	ownerForm = regexp.MustCompile(`^([a-z0-9.-]+)/([A-Za-z0-9._-]+)/[A-Za-z0-9._-]+$`)
)

// putAccount makes an account, opens one that was locked, or changes its password and limits.
func (s *store) putAccount(ctx context.Context, called, owner, password string, atOnce int, storage int64) error {
	if !nameForm.MatchString(called) || called == administrator || called == prober {
		return fmt.Errorf("%.80q is no name of an account", called)
	}
	parts := ownerForm.FindStringSubmatch(owner)
	if parts == nil {
		return fmt.Errorf("%.200q is no owner of an account", owner)
	}
	if len(password) < passwordLeast || len(password) > 200 {
		return fmt.Errorf("a password has %d to 200 bytes", passwordLeast)
	}
	if atOnce < 1 || storage < 1 {
		return errors.New("one message of an account is sent at a time at least, and it has a byte of storage at least")
	}
	done, err := s.pool.Exec(ctx, `INSERT INTO accounts (name, owner, tenant, app, sha256, at_once, storage)
		VALUES ($1, $2, $3, $4, $5, $6, $7)
		ON CONFLICT (name) DO UPDATE SET sha256 = $5, at_once = $6, storage = $7, locked = 0 WHERE accounts.owner = $2`,
		called, owner, parts[1], parts[2], digest(password), min(atOnce, atOnceMost), storage)
	if err == nil && done.RowsAffected() == 0 {
		return errOwner
	}
	return err
}

// lockAccount keeps the time of the first lock. It does nothing to an account of another owner. What was accepted before
// is still sent.
func (s *store) lockAccount(ctx context.Context, called, owner string) error {
	_, err := s.pool.Exec(ctx, `UPDATE accounts SET locked = extract(epoch FROM now())::bigint
		WHERE name = $1 AND owner = $2 AND locked = 0`, called, owner)
	return err
}

// deleteAccount deletes an account with its templates and messages.
func (s *store) deleteAccount(ctx context.Context, called, owner string) error {
	_, err := s.pool.Exec(ctx, `DELETE FROM accounts WHERE name = $1 AND owner = $2`, called, owner)
	return err
}

// accounts are those of apps and of other capabilities, without the probe's.
func (s *store) accounts(ctx context.Context) ([]account, error) {
	rows, err := s.pool.Query(ctx, `SELECT `+accountColumns+` FROM accounts WHERE name <> $1 ORDER BY name`, prober)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowToStructByPos[account])
}

// signIn returns the account of that name; nil for a wrong name or password and for a locked account.
func (s *store) signIn(ctx context.Context, called, password string) (*account, error) {
	rows, err := s.pool.Query(ctx, `SELECT `+accountColumns+` FROM accounts WHERE name = $1`, called)
	if err != nil {
		return nil, err
	}
	found, err := pgx.CollectOneRow(rows, pgx.RowToStructByPos[account])
	if err != nil && !errors.Is(err, pgx.ErrNoRows) {
		return nil, err
	}
	if !matches(found.SHA256, password) || found.Locked != 0 {
		return nil, nil
	}
	return &found, nil
}

// putProber makes the account of the capability's own probe. Its password follows from the administrator's.
func (s *store) putProber(ctx context.Context, admin string) error {
	_, err := s.pool.Exec(ctx, `INSERT INTO accounts (name, owner, tenant, app, sha256, at_once, storage)
		VALUES ($1, 'capability/probe/probe', 'capability', 'probe', $2, 4, 1 << 20)
		ON CONFLICT (name) DO UPDATE SET sha256 = $2`, prober, digest(ProbePassword(admin)))
	return err
}

// ProbePassword is the password of the account with which the capability is probed.
func ProbePassword(admin string) string { return digest("probe:" + admin) }

// digest is the SHA-256 of a password in hexadecimal digits. Passwords are generated, and cannot be guessed.
func digest(password string) string {
	sum := sha256.Sum256([]byte(password))
	return hex.EncodeToString(sum[:])
}

func matches(wanted, password string) bool {
	return subtle.ConstantTimeCompare([]byte(wanted), []byte(digest(password))) == 1
}
