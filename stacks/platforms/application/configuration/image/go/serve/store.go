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
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
)

// Tables are made at each start. One lock, so that two pods that follow one another do not make them at once.
//
// A row of `entries` is a version of a key; that of the highest revision is the current one, without a value if the key
// was deleted. `floor` is the highest revision of a deletion that is kept no longer: who knows less reads all anew.
const tables = `
SELECT pg_advisory_xact_lock(1907008);
CREATE TABLE IF NOT EXISTS accounts (
  name text PRIMARY KEY, owner text NOT NULL, tenant text NOT NULL, app text NOT NULL, sha256 text NOT NULL,
  connections integer NOT NULL, storage bigint NOT NULL, locked bigint NOT NULL DEFAULT 0,
  revision bigint NOT NULL DEFAULT 0, floor bigint NOT NULL DEFAULT 0
);
CREATE TABLE IF NOT EXISTS entries (
  account text NOT NULL REFERENCES accounts ON DELETE CASCADE, key text, revision bigint, value text,
  changed timestamptz NOT NULL DEFAULT now(), PRIMARY KEY (account, key, revision)
);
`

// An account is that of an app's use. Connections are how many of its requests wait for changes at a time, Storage the
// bytes of its values with their versions. Locked is when its use has ended, in seconds since 1970, or 0.
type account struct {
	Name, Owner, Tenant, App, SHA256 string
	Connections                      int
	Storage, Locked                  int64
}

const accountColumns = `name, owner, tenant, app, sha256, connections, storage, locked`

// labels are the tenant and the app in metrics; both are empty for capabilities of the city and for the probe.
func (a account) labels() (tenant, app string) {
	if a.Tenant == "capability" {
		return "", ""
	}
	return a.Tenant, a.App
}

const (
	administrator = "admin"
	passwordLeast = 12
	prober        = "probe"
	// The most bytes of an account. An answer with all of its values is made in memory.
	storageMost = 4 << 20
)

var (
	errOwner  = errors.New("the account is another owner's")
	nameForm  = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$`)
	ownerForm = regexp.MustCompile(`^[a-z0-9.-]+/[A-Za-z0-9._-]+/[A-Za-z0-9._-]+$`)
)

// A store keeps accounts and values in the database that the capability uses. `storage` is what the limits of all accounts
// come to at the most.
type store struct {
	pool    *pgxpool.Pool
	storage int64
}

// openStore also makes the account of the probe, whose password follows from the administrator's.
func openStore(ctx context.Context, uri string, connections int32, storage int64, admin string) (*store, error) {
	config, err := pgxpool.ParseConfig(uri)
	if err != nil {
		return nil, err
	}
	config.MaxConns = connections
	config.ConnConfig.ConnectTimeout = 5 * time.Second
	config.ConnConfig.RuntimeParams["statement_timeout"] = "10000"
	config.ConnConfig.RuntimeParams["application_name"] = "configuration"
	pool, err := pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		return nil, err
	}
	found := &store{pool, storage}
	// A batch of statements without parameters is one transaction.
	_, err = pool.Exec(ctx, tables, pgx.QueryExecModeSimpleProtocol)
	if err == nil {
		err = insert(ctx, pool, account{
			Name: prober, Owner: "capability/probe/probe", SHA256: digest(ProbePassword(admin)), Connections: 16, Storage: 1 << 16,
		})
	}
	if err != nil {
		pool.Close()
		return nil, err
	}
	return found, nil
}

// put makes an account, opens one that was locked, or changes its password and limits.
func (s *store) put(ctx context.Context, item account, password string) error {
	if !nameForm.MatchString(item.Name) || item.Name == administrator || item.Name == prober {
		return fmt.Errorf("%.80q is no name of an account", item.Name)
	}
	if !ownerForm.MatchString(item.Owner) {
		return fmt.Errorf("%.200q is no owner of an account", item.Owner)
	}
	if len(password) < passwordLeast || len(password) > 200 {
		return fmt.Errorf("a password has %d to 200 bytes", passwordLeast)
	}
	if item.Connections < 1 || item.Connections > 1000 {
		return fmt.Errorf("account %s: 1 to 1000 of its requests wait at a time, and not %d", item.Name, item.Connections)
	}
	if item.Storage < 1 || item.Storage > storageMost {
		return fmt.Errorf("account %s: its values have at most %d bytes, and not %d: keep what is larger in object storage",
			item.Name, storageMost, item.Storage)
	}
	item.SHA256 = digest(password)
	return pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
		var sum int64
		// One after the other, or two that fit alone could be too much together.
		if _, err := tx.Exec(ctx, `SELECT pg_advisory_xact_lock(1907009)`); err != nil {
			return err
		}
		// Limits with which the accounts together could fill the database would promise what there is not.
		err := tx.QueryRow(ctx, `SELECT coalesce(sum(storage), 0)::bigint FROM accounts WHERE name NOT IN ($1, $2)`,
			item.Name, prober).Scan(&sum)
		if err != nil {
			return err
		}
		if sum+item.Storage > s.storage {
			return fmt.Errorf("account %s: with it, the limits of all accounts come to %d bytes, and there are %d for them: "+
				"state a smaller `storage` for a use, or delete accounts that are locked", item.Name, sum+item.Storage, s.storage)
		}
		return insert(ctx, tx, item)
	})
}

func insert(ctx context.Context, to interface {
	Exec(context.Context, string, ...any) (pgconn.CommandTag, error)
}, item account) error {
	parts := strings.SplitN(item.Owner, "/", 3)
	done, err := to.Exec(ctx, `INSERT INTO accounts (`+accountColumns+`) VALUES ($1, $2, $3, $4, $5, $6, $7, 0)
		ON CONFLICT (name) DO UPDATE SET sha256 = $5, connections = $6, storage = $7, locked = 0 WHERE accounts.owner = $2`,
		item.Name, item.Owner, parts[0], parts[1], item.SHA256, item.Connections, item.Storage)
	if err == nil && done.RowsAffected() == 0 {
		return errOwner
	}
	return err
}

// lock keeps the time of the first lock. It does nothing to an account of another owner.
func (s *store) lock(ctx context.Context, called, owner string) error {
	_, err := s.pool.Exec(ctx, `UPDATE accounts SET locked = extract(epoch FROM now())::bigint
		WHERE name = $1 AND owner = $2 AND locked = 0`, called, owner)
	return err
}

// remove deletes an account with its values.
func (s *store) remove(ctx context.Context, called, owner string) error {
	_, err := s.pool.Exec(ctx, `DELETE FROM accounts WHERE name = $1 AND owner = $2`, called, owner)
	return err
}

// A used account is one with what it has: keys, the bytes of their values, and bytes with versions and deletions.
type used struct {
	account
	Keys, ValueBytes, Bytes int64
}

func (s *store) accounts(ctx context.Context) ([]used, error) {
	rows, err := s.pool.Query(ctx, `SELECT `+accountColumns+`, valued.keys, valued.bytes, kept.bytes FROM accounts,
		LATERAL (SELECT count(*) AS keys, coalesce(sum(`+size+`), 0)::bigint AS bytes FROM (
			SELECT DISTINCT ON (key) key, value FROM entries WHERE account = name ORDER BY key, revision DESC
		) latest WHERE value IS NOT NULL) valued,
		LATERAL (SELECT coalesce(sum(`+size+`), 0)::bigint AS bytes FROM entries WHERE account = name) kept
		WHERE name <> '`+prober+`' ORDER BY name`)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (found used, err error) {
		err = row.Scan(&found.Name, &found.Owner, &found.Tenant, &found.App, &found.SHA256, &found.Connections,
			&found.Storage, &found.Locked, &found.Keys, &found.ValueBytes, &found.Bytes)
		return found, err
	})
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
