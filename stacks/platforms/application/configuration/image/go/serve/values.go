package serve

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"time"
	"unicode/utf8"

	"github.com/jackc/pgx/v5"
)

const (
	// The most of an account: keys, deleted ones that are still told, and versions of a key, the current one included.
	keysMost, deletedMost, versionsMost = 1000, 1000, 10
	keyMost, valueMost                  = 200, 64 << 10
	// Bytes that a version takes: what the database keeps of each counts, so that their number is bounded too.
	size = `octet_length(key) + coalesce(octet_length(value), 0) + 64`
	// The current version of each key of an account.
	current = `SELECT DISTINCT ON (key) key, revision, value, changed FROM entries WHERE account = $1
		ORDER BY key, revision DESC`
)

var keyForm = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]*(/[A-Za-z0-9][A-Za-z0-9._-]*)*$`)

// An entry is a version of a key. One that was deleted has no value.
type entry struct {
	Key      string    `json:"key"`
	Revision int64     `json:"revision"`
	Value    *string   `json:"value,omitempty"`
	Deleted  bool      `json:"deleted,omitempty"`
	Changed  time.Time `json:"changed"`
}

// A condition of a change: with `any`, none. Otherwise the key has this revision, or with 0 it is not there.
type condition struct {
	any      bool
	revision int64
}

var (
	errGone    = errors.New("the account is locked")
	errChanged = errors.New("the key has another revision")
	errMissing = errors.New("there is no such key")
)

// errLimit is a limit of the account that a change would go beyond.
type errLimit struct{ reason string }

func (e errLimit) Error() string { return e.reason }

// checkKey returns why a text is no key; empty if it is one.
func checkKey(key string) string {
	if len(key) > keyMost || !keyForm.MatchString(key) {
		return fmt.Sprintf("a key has at most %d letters, digits and ._- in parts with / between, each beginning with a letter or digit",
			keyMost)
	}
	return ""
}

// checkValue returns why bytes are no value. Control characters would make an answer six times as long as the value.
func checkValue(value []byte) string {
	if len(value) > valueMost {
		return fmt.Sprintf("a value has at most %d bytes", valueMost)
	}
	if !utf8.Valid(value) {
		return "a value is text in UTF-8"
	}
	for _, one := range value {
		if one < ' ' && one != '\n' && one != '\r' && one != '\t' {
			return "a value has no control characters but line breaks and tabs"
		}
	}
	return ""
}

// change sets a key, or with nil deletes it, and returns its revision. `changed` is false if it had that value already.
func (s *store) change(ctx context.Context, name, key string, value *string, when condition) (revision int64, changed bool, err error) {
	err = pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
		var storage int64
		// Changes of an account follow one another. Milliseconds since 1970 are above each revision that was there before a
		// restore, so that no client takes a new one for one that it knows.
		err := tx.QueryRow(ctx, `SELECT storage,
			greatest(revision + 1, (extract(epoch FROM clock_timestamp()) * 1000)::bigint)
			FROM accounts WHERE name = $1 AND locked = 0 FOR UPDATE`, name).Scan(&storage, &revision)
		if errors.Is(err, pgx.ErrNoRows) {
			return errGone
		}
		if err != nil {
			return err
		}
		var last entry
		err = tx.QueryRow(ctx, `SELECT revision, value FROM entries WHERE account = $1 AND key = $2
			ORDER BY revision DESC LIMIT 1`, name, key).Scan(&last.Revision, &last.Value)
		if err != nil && !errors.Is(err, pgx.ErrNoRows) {
			return err
		}
		if last.Value == nil {
			last.Revision = 0
		}
		if !when.any && when.revision != last.Revision {
			return errChanged
		}
		if value == nil && last.Value == nil {
			return errMissing
		}
		if value != nil && last.Value != nil && *value == *last.Value {
			revision = last.Revision
			return nil
		}
		changed = true
		if _, err := tx.Exec(ctx, `INSERT INTO entries VALUES ($1, $2, $3, $4)`, name, key, revision, value); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, `UPDATE accounts SET revision = $2 WHERE name = $1`, name, revision); err != nil {
			return err
		}
		return fit(ctx, tx, name, key, storage)
	})
	return revision, changed && err == nil, err
}

// fit refuses what is current beyond the account's limits, and then drops old versions and the oldest deletions until the
// rest is within them.
func fit(ctx context.Context, tx pgx.Tx, name, key string, storage int64) error {
	var keys, bytes int64
	err := tx.QueryRow(ctx, `SELECT count(*), coalesce(sum(`+size+`), 0)::bigint FROM (`+current+`) c WHERE value IS NOT NULL`,
		name).Scan(&keys, &bytes)
	if err != nil {
		return err
	}
	if keys > keysMost {
		return errLimit{fmt.Sprintf("an account has at most %d keys", keysMost)}
	}
	if bytes > storage {
		return errLimit{fmt.Sprintf("the values would take %d bytes, with their keys and 64 bytes for each, and the account has %d",
			bytes, storage)}
	}
	if _, err := tx.Exec(ctx, `DELETE FROM entries WHERE account = $1 AND key = $2 AND revision NOT IN (
		SELECT revision FROM entries WHERE account = $1 AND key = $2 ORDER BY revision DESC LIMIT $3)`,
		name, key, versionsMost); err != nil {
		return err
	}
	// What is current stays; then deletions and versions of before, as far as there is room, the newest of each first.
	_, err = tx.Exec(ctx, `
		WITH latest AS (`+current+`), old AS (
			SELECT e.key, e.revision, `+qualified+` AS size, l.revision IS NOT NULL AS is_deletion,
				row_number() OVER (PARTITION BY l.revision IS NOT NULL ORDER BY e.revision DESC) AS number
			FROM entries e LEFT JOIN latest l ON l.key = e.key AND l.revision = e.revision
			WHERE e.account = $1 AND (l.revision IS NULL OR l.value IS NULL)
		), counted AS (
			SELECT *, sum(size) OVER (ORDER BY is_deletion DESC, revision DESC) AS so_far FROM old
		), forgotten AS (
			-- With its deletion a key goes altogether, or a version before would be the current one.
			SELECT key FROM counted WHERE is_deletion AND (so_far > $2 OR number > $3)
		), dropped AS (
			DELETE FROM entries e USING counted c WHERE e.account = $1 AND e.key = c.key AND e.revision = c.revision
				AND (c.so_far > $2 OR c.key IN (SELECT key FROM forgotten))
			RETURNING c.is_deletion, e.revision
		)
		UPDATE accounts SET floor = greatest(floor, (SELECT max(revision) FROM dropped WHERE is_deletion))
		WHERE name = $1 AND EXISTS (SELECT FROM dropped WHERE is_deletion)`, name, storage-bytes, deletedMost)
	return err
}

// The size of an entry in a query where another table has such columns too.
const qualified = `octet_length(e.key) + coalesce(octet_length(e.value), 0) + 64`

// get returns the current version of a key; nil if it is not there.
func (s *store) get(ctx context.Context, name, key string) (*entry, error) {
	found, err := s.versions(ctx, name, key, 1)
	if err != nil || len(found) == 0 || found[0].Deleted {
		return nil, err
	}
	return &found[0], nil
}

// versions returns the last versions of a key, the newest first.
func (s *store) versions(ctx context.Context, name, key string, most int) ([]entry, error) {
	rows, err := s.pool.Query(ctx, `SELECT key, revision, value, changed FROM entries WHERE account = $1 AND key = $2
		ORDER BY revision DESC LIMIT $3`, name, key, most)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, scan)
}

// A told state is the account's revision, and what has changed since one that a client knows, deletions included. With
// Reset it is all that there is, since what was deleted meanwhile is not known any more.
type told struct {
	Revision int64   `json:"revision"`
	Reset    bool    `json:"reset"`
	Changes  []entry `json:"changes"`
}

// isNews is whether there is something to tell somebody who knows a revision. An account that is locked, or has another
// password, has errGone.
func (s *store) isNews(ctx context.Context, who *account, since int64) (is bool, err error) {
	err = s.pool.QueryRow(ctx, `SELECT revision <> $3 FROM accounts WHERE name = $1 AND sha256 = $2 AND locked = 0`,
		who.Name, who.SHA256, since).Scan(&is)
	if errors.Is(err, pgx.ErrNoRows) {
		return false, errGone
	}
	return is, err
}

// changes returns what has changed since a revision; all that there is, for one that the account never had or that is too
// old.
func (s *store) changes(ctx context.Context, name string, since int64) (*told, error) {
	found := &told{Changes: []entry{}}
	options := pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}
	err := pgx.BeginTxFunc(ctx, s.pool, options, func(tx pgx.Tx) error {
		var floor int64
		err := tx.QueryRow(ctx, `SELECT revision, floor FROM accounts WHERE name = $1`, name).Scan(&found.Revision, &floor)
		if errors.Is(err, pgx.ErrNoRows) {
			return errGone
		}
		if err != nil {
			return err
		}
		if since < floor || since > found.Revision {
			since, found.Reset = 0, true
		}
		rows, err := tx.Query(ctx, `SELECT * FROM (`+current+`) c WHERE revision > $2 AND (NOT $3 OR value IS NOT NULL)
			ORDER BY revision`, name, since, since == 0)
		if err != nil {
			return err
		}
		changes, err := pgx.CollectRows(rows, scan)
		found.Changes = append(found.Changes, changes...)
		return err
	})
	return found, err
}

func scan(row pgx.CollectableRow) (found entry, err error) {
	err = row.Scan(&found.Key, &found.Revision, &found.Value, &found.Changed)
	found.Deleted = found.Value == nil
	return found, err
}
