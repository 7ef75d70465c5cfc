package serve

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

const (
	templatesMost = 200
	// Messages that an account may bring in a minute, for each that is sent at a time.
	minuteEach = 60
	// What an ended message counts for, in bytes, until it is forgotten; how long that takes.
	endedBytes  = 256
	keptForDays = 1
)

// Tables are made at each start. One lock, so that two pods that follow one another do not make them at once.
const tables = `
SELECT pg_advisory_xact_lock(1907007);
CREATE TABLE IF NOT EXISTS accounts (
  name text PRIMARY KEY, owner text NOT NULL, tenant text NOT NULL, app text NOT NULL, sha256 text NOT NULL,
  at_once integer NOT NULL, storage bigint NOT NULL, locked bigint NOT NULL DEFAULT 0, used bigint NOT NULL DEFAULT 0,
  minute timestamptz NOT NULL DEFAULT now(), accepted integer NOT NULL DEFAULT 0
);
CREATE TABLE IF NOT EXISTS templates (
  account text REFERENCES accounts ON DELETE CASCADE, name text, content jsonb NOT NULL, PRIMARY KEY (account, name)
);
CREATE TABLE IF NOT EXISTS messages (
  number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, id text NOT NULL UNIQUE,
  account text NOT NULL REFERENCES accounts ON DELETE CASCADE, key text NOT NULL, digest text NOT NULL,
  channel text NOT NULL, receiver text NOT NULL, subject text NOT NULL, text text NOT NULL, size bigint NOT NULL,
  state text NOT NULL DEFAULT 'queued', tries integer NOT NULL DEFAULT 0, reason text NOT NULL DEFAULT '',
  accepted timestamptz NOT NULL DEFAULT now(), due timestamptz NOT NULL DEFAULT now(), ended timestamptz,
  claimed boolean NOT NULL DEFAULT false, UNIQUE (account, key)
);
CREATE INDEX IF NOT EXISTS messages_due ON messages (channel, account, due) WHERE state = 'queued' AND NOT claimed;
CREATE INDEX IF NOT EXISTS messages_waiting ON messages (account, accepted) WHERE state = 'queued';
CREATE INDEX IF NOT EXISTS messages_in_vain ON messages (account) WHERE reason <> '' AND state <> 'sent';
CREATE INDEX IF NOT EXISTS messages_ended ON messages (ended) WHERE ended IS NOT NULL;
`

var (
	errFull  = errors.New("the app's messages take as many bytes as they may")
	errOften = errors.New("the app brings more messages in a minute than it may")
	errOther = errors.New("the key is that of another message")
	errMany  = fmt.Errorf("an app has at most %d templates", templatesMost)
)

// A store is what is known of accounts, templates and messages, in the database that the capability uses.
type store struct{ pool *pgxpool.Pool }

func openStore(ctx context.Context, uri string, connections int32) (*store, error) {
	config, err := pgxpool.ParseConfig(uri)
	if err != nil {
		return nil, err
	}
	config.MaxConns = connections
	config.ConnConfig.ConnectTimeout = 5 * time.Second
	for name, value := range map[string]string{
		"statement_timeout": "10000", "application_name": "notification",
		// A server that is gone without a word holds the lock of who sends no longer than this.
		"tcp_keepalives_idle": "15", "tcp_keepalives_interval": "5", "tcp_keepalives_count": "3",
	} {
		config.ConnConfig.RuntimeParams[name] = value
	}
	pool, err := pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		return nil, err
	}
	return &store{pool}, nil
}

// prepare makes the tables.
func (s *store) prepare(ctx context.Context) error {
	// A batch of statements without parameters is one transaction.
	_, err := s.pool.Exec(ctx, tables, pgx.QueryExecModeSimpleProtocol)
	return err
}

// putTemplate stores a template of an account in the place of the one of that name.
func (s *store) putTemplate(ctx context.Context, who *account, called string, content *template) error {
	return pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
		// One change of an account at a time, so that it has no more than it may.
		if _, err := tx.Exec(ctx, `SELECT FROM accounts WHERE name = $1 FOR UPDATE`, who.Name); err != nil {
			return err
		}
		var others int
		err := tx.QueryRow(ctx, `SELECT count(*) FROM templates WHERE account = $1 AND name <> $2`, who.Name, called).Scan(&others)
		if err != nil {
			return err
		}
		if others >= templatesMost {
			return errMany
		}
		_, err = tx.Exec(ctx, `INSERT INTO templates VALUES ($1, $2, $3)
			ON CONFLICT (account, name) DO UPDATE SET content = $3`, who.Name, called, content)
		return err
	})
}

// template returns a template of an account, nil if there is none.
func (s *store) template(ctx context.Context, who *account, called string) (*template, error) {
	found := &template{}
	err := s.pool.QueryRow(ctx, `SELECT content FROM templates WHERE account = $1 AND name = $2`, who.Name, called).Scan(found)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, nil
	}
	return found, err
}

func (s *store) templates(ctx context.Context, who *account) ([]string, error) {
	rows, err := s.pool.Query(ctx, `SELECT name FROM templates WHERE account = $1 ORDER BY name`, who.Name)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowTo[string])
}

// removeTemplate leaves messages that were accepted: their texts are filled already.
func (s *store) removeTemplate(ctx context.Context, who *account, called string) error {
	_, err := s.pool.Exec(ctx, `DELETE FROM templates WHERE account = $1 AND name = $2`, who.Name, called)
	return err
}

// accept stores a message, and returns the identifier of the one that its key has: the same request again makes no second
// one, and counts for nothing. When it returns, the message outlives this program.
func (s *store) accept(ctx context.Context, who *account, item *message) (id string, err error) {
	size := int64(len(item.Subject)+len(item.Text)+len(item.To)+len(item.Key)) + endedBytes
	err = pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
		// It locks the account, so that its limits hold exactly.
		var minute, used, storage int64
		err := tx.QueryRow(ctx, `UPDATE accounts SET
			accepted = CASE WHEN minute > now() - interval '1 minute' THEN accepted ELSE 0 END,
			minute = CASE WHEN minute > now() - interval '1 minute' THEN minute ELSE now() END
			WHERE name = $1 RETURNING accepted, used, storage`, who.Name).Scan(&minute, &used, &storage)
		if err != nil {
			return err
		}
		id, err = known(ctx, tx, who, item)
		if err != nil || id != "" {
			return err
		}
		if minute >= int64(who.AtOnce*minuteEach) {
			return errOften
		}
		if used+size > storage {
			return errFull
		}
		id = item.ID
		if _, err := tx.Exec(ctx, `UPDATE accounts SET accepted = accepted + 1, used = used + $2 WHERE name = $1`,
			who.Name, size); err != nil {
			return err
		}
		_, err = tx.Exec(ctx, `INSERT INTO messages (id, account, key, digest, channel, receiver, subject, text, size)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)`,
			item.ID, who.Name, item.Key, item.Digest, item.Channel, item.To, item.Subject, item.Text, size)
		return err
	})
	return id, err
}

type querier interface {
	QueryRow(ctx context.Context, sql string, arguments ...any) pgx.Row
}

// known is the identifier of the message that has this one's key, empty if there is none.
func known(ctx context.Context, from querier, who *account, item *message) (id string, err error) {
	var same bool
	err = from.QueryRow(ctx, `SELECT id, digest = $3 FROM messages WHERE account = $1 AND key = $2`,
		who.Name, item.Key, item.Digest).Scan(&id, &same)
	if errors.Is(err, pgx.ErrNoRows) {
		return "", nil
	}
	if err == nil && !same {
		err = errOther
	}
	return id, err
}

// message returns a message of an account, nil if it has none with this identifier.
func (s *store) message(ctx context.Context, who *account, id string) (*seen, error) {
	found, content, due := &seen{}, kept{}, time.Time{}
	err := s.pool.QueryRow(ctx, `SELECT id, key, channel, state, tries, reason, accepted, due, ended, receiver, subject, text
		FROM messages WHERE account = $1 AND id = $2`, who.Name, id).Scan(
		&found.ID, &found.Key, &found.Channel, &found.State, &found.Tries, &found.Reason, &found.Accepted, &due,
		&found.Ended, &content.To, &content.Subject, &content.Text)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, nil
	}
	if found.State == queued {
		found.Next = &due
	} else if content.Text != "" {
		found.Kept = &content
	}
	return found, err
}
