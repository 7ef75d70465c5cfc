package serve

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/jackc/pgx/v5"
)

// An account is that of an app's use. AtOnce are how many of its calls are answered at a time, Storage the bytes of the
// documents that it describes its app's assets with. Locked is when its use has ended, in seconds since 1970, or 0.
type account struct {
	Name, Owner, Tenant, App, SHA256 string
	AtOnce                           int
	Storage, Locked                  int64
}

const accountColumns = `name, owner, tenant, app, sha256, at_once, storage, locked`

func (a account) consumer() string { return a.Tenant + "/" + a.App }

// labels are the tenant and the app in metrics; both are empty for capabilities of the city and for the probe.
func (a account) labels() (tenant, app string) {
	if a.Tenant == "capability" {
		return "", ""
	}
	return a.Tenant, a.App
}

const (
	passwordLeast = 12
	prober        = "probe"
)

var (
	errOwner  = errors.New("the account is another owner's")
	nameForm  = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$`)
	ownerForm = regexp.MustCompile(`^[a-z0-9.-]+/[A-Za-z0-9._-]+/[A-Za-z0-9._-]+$`)
)

// putAccount makes an account, opens one that was locked, or changes its password and limits.
func (c *catalogue) putAccount(ctx context.Context, called, owner, password string, atOnce int, storage int64) error {
	if !nameForm.MatchString(called) || called == administrator || called == prober {
		return fmt.Errorf("%.80q is no name of an account", called)
	}
	if !ownerForm.MatchString(owner) {
		return fmt.Errorf("%.200q is no owner of an account", owner)
	}
	if len(password) < passwordLeast || len(password) > 200 {
		return fmt.Errorf("a password has %d to 200 bytes", passwordLeast)
	}
	if atOnce < 1 || atOnce > 1000 || storage < 1 {
		return errors.New("1 to 1000 calls of an account are answered at a time, and it has a byte of storage at least")
	}
	parts := strings.SplitN(owner, "/", 3)
	done, err := c.pool.Exec(ctx, `INSERT INTO accounts VALUES ($1, $2, $3, $4, $5, $6, $7, 0)
		ON CONFLICT (name) DO UPDATE SET sha256 = $5, at_once = $6, storage = $7, locked = 0 WHERE accounts.owner = $2`,
		called, owner, parts[0], parts[1], digest(password), atOnce, storage)
	if err == nil && done.RowsAffected() == 0 {
		return errOwner
	}
	return err
}

// lockAccount keeps the time of the first lock. It does nothing to an account of another owner.
func (c *catalogue) lockAccount(ctx context.Context, called, owner string) error {
	_, err := c.pool.Exec(ctx, `UPDATE accounts SET locked = extract(epoch FROM now())::bigint
		WHERE name = $1 AND owner = $2 AND locked = 0`, called, owner)
	return err
}

// deleteAccount deletes an account, and with the last one of an app its assets.
func (c *catalogue) deleteAccount(ctx context.Context, called, owner string) error {
	return pgx.BeginFunc(ctx, c.pool, func(tx pgx.Tx) error {
		var tenant, app string
		err := tx.QueryRow(ctx, `DELETE FROM accounts WHERE name = $1 AND owner = $2 RETURNING tenant, app`,
			called, owner).Scan(&tenant, &app)
		if errors.Is(err, pgx.ErrNoRows) {
			return nil
		}
		if err != nil {
			return err
		}
		for _, table := range []string{"quality", "assets", "versions"} {
			if _, err := tx.Exec(ctx, `DELETE FROM `+table+` WHERE tenant = $1 AND app = $2
				AND NOT EXISTS (SELECT FROM accounts WHERE tenant = $1 AND app = $2)`, tenant, app); err != nil {
				return err
			}
		}
		return nil
	})
}

func (c *catalogue) accounts(ctx context.Context) ([]account, error) {
	rows, err := c.pool.Query(ctx, `SELECT `+accountColumns+` FROM accounts ORDER BY name`)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowToStructByPos[account])
}

// bytes is what an app's assets take, by the length of their documents.
func (c *catalogue) bytes(ctx context.Context, item account) (size int64, err error) {
	err = c.pool.QueryRow(ctx, `SELECT coalesce(sum(pg_column_size(document)), 0) FROM assets WHERE tenant = $1 AND app = $2`,
		item.Tenant, item.App).Scan(&size)
	return size, err
}

// signIn returns the account of that name; nil for a wrong name or password and for a locked account.
func (c *catalogue) signIn(ctx context.Context, called, password string) (*account, error) {
	rows, err := c.pool.Query(ctx, `SELECT `+accountColumns+` FROM accounts WHERE name = $1`, called)
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

// probing is the account of the capability's own probe. Its password follows from the administrator's.
func probing() *account {
	return &account{
		Name: prober, Owner: "capability/probe/probe", Tenant: "capability", App: "probe", AtOnce: 16, Storage: documentMost,
	}
}

// ProbePassword is the password of the account with which the capability is probed.
func ProbePassword(admin string) string { return digest("probe:" + admin) }

// isServed is whether an app has an account that is not locked: what others left is not read.
func (c *catalogue) isServed(ctx context.Context, owner name) (is bool, err error) {
	err = c.pool.QueryRow(ctx, `SELECT EXISTS (SELECT FROM accounts WHERE tenant = $1 AND app = $2 AND locked = 0)`,
		owner.Tenant, owner.App).Scan(&is)
	return is, err
}

// digest is the SHA-256 of a password in hexadecimal digits. Passwords are generated, and cannot be guessed.
func digest(password string) string {
	sum := sha256.Sum256([]byte(password))
	return hex.EncodeToString(sum[:])
}

func matches(wanted, password string) bool {
	return subtle.ConstantTimeCompare([]byte(wanted), []byte(digest(password))) == 1
}
