package serve

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// The most that the catalogue holds: assets of an app, versions and results of quality of one, and calls with the days
// for which they are kept. Each call is a line of the log, too. No app can fill the database, without which nobody reads.
const (
	assetsMost, versionsMost, qualityMost = 200, 50, 20
	callsMost, callDays                   = 500_000, 180
	// Calls that are deleted by one statement, and bytes of texts in one.
	callsAtATime, callColumns, callText = 50_000, 1000, 200
)

// Tables are made at each start. One lock, so that two pods that follow one another do not make them at once.
const tables = `
SELECT pg_advisory_xact_lock(1907006);
CREATE TABLE IF NOT EXISTS accounts (
  name text PRIMARY KEY, owner text NOT NULL, tenant text NOT NULL, app text NOT NULL, sha256 text NOT NULL,
  at_once integer NOT NULL, storage bigint NOT NULL, locked bigint NOT NULL DEFAULT 0
);
CREATE TABLE IF NOT EXISTS assets (
  tenant text, app text, asset text, version bigint NOT NULL, document jsonb NOT NULL, changed timestamptz NOT NULL,
  PRIMARY KEY (tenant, app, asset)
);
CREATE TABLE IF NOT EXISTS versions (
  tenant text, app text, asset text, version bigint, document jsonb, changed timestamptz NOT NULL, account text NOT NULL,
  PRIMARY KEY (tenant, app, asset, version)
);
CREATE TABLE IF NOT EXISTS quality (
  tenant text, app text, asset text, number bigint GENERATED ALWAYS AS IDENTITY, at timestamptz NOT NULL,
  rule text NOT NULL, passed boolean NOT NULL, detail text NOT NULL, PRIMARY KEY (tenant, app, asset, number)
);
CREATE TABLE IF NOT EXISTS calls (
  number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, at timestamptz NOT NULL DEFAULT now(), account text NOT NULL,
  consumer text NOT NULL, tenant text NOT NULL, app text NOT NULL, asset text NOT NULL, columns text[] NOT NULL,
  purpose text NOT NULL, rows integer NOT NULL, outcome text NOT NULL, reason text NOT NULL
);
CREATE INDEX IF NOT EXISTS calls_of_an_asset ON calls (tenant, app, asset, number);
CREATE INDEX IF NOT EXISTS calls_in_time ON calls (at);
CREATE INDEX IF NOT EXISTS assets_by_source ON assets USING gin ((document -> 'sources'));
`

// A catalogue is what is known of assets and accounts, in the database that the capability uses.
type catalogue struct{ pool *pgxpool.Pool }

// A stored asset: its document as of a version.
type stored struct {
	name     name
	version  int64
	document *document
	changed  time.Time
}

var errFull = errors.New("the app has as many assets, or bytes of documents, as it may")

func openCatalogue(ctx context.Context, uri string, connections int32) (*catalogue, error) {
	config, err := pgxpool.ParseConfig(uri)
	if err != nil {
		return nil, err
	}
	config.MaxConns = connections
	config.ConnConfig.ConnectTimeout = 5 * time.Second
	config.ConnConfig.RuntimeParams["statement_timeout"] = "10000"
	config.ConnConfig.RuntimeParams["application_name"] = "data-services"
	pool, err := pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		return nil, err
	}
	// A batch of statements without parameters is one transaction.
	if _, err := pool.Exec(ctx, tables, pgx.QueryExecModeSimpleProtocol); err != nil {
		pool.Close()
		return nil, err
	}
	return &catalogue{pool}, nil
}

const assetColumns = `tenant, app, asset, version, document, changed`

func scan(row pgx.Row) (*stored, error) {
	found := &stored{document: &document{}}
	var text []byte
	err := row.Scan(&found.name.Tenant, &found.name.App, &found.name.Asset, &found.version, &text, &found.changed)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return found, json.Unmarshal(text, found.document)
}

// get returns an asset, nil if there is none.
func (c *catalogue) get(ctx context.Context, wanted name) (*stored, error) {
	return scan(c.pool.QueryRow(ctx,
		`SELECT `+assetColumns+` FROM assets WHERE tenant = $1 AND app = $2 AND asset = $3`,
		wanted.Tenant, wanted.App, wanted.Asset))
}

// put stores a document. The same document again makes no version.
func (c *catalogue) put(ctx context.Context, asset name, d *document, who *account) (version int64, err error) {
	text, err := json.Marshal(d)
	if err != nil {
		return 0, err
	}
	err = pgx.BeginFunc(ctx, c.pool, func(tx pgx.Tx) error {
		// One change of an app at a time, so that it has no more than it may.
		if _, err := tx.Exec(ctx, `SELECT pg_advisory_xact_lock(hashtextextended($1, 1))`, who.consumer()); err != nil {
			return err
		}
		var same bool
		err := tx.QueryRow(ctx,
			`SELECT version, document = $4::jsonb FROM assets WHERE tenant = $1 AND app = $2 AND asset = $3`,
			asset.Tenant, asset.App, asset.Asset, string(text)).Scan(&version, &same)
		if err != nil && !errors.Is(err, pgx.ErrNoRows) || err == nil && same {
			return err
		}
		var count int
		var size int64
		err = tx.QueryRow(ctx, `SELECT count(*), coalesce(sum(octet_length(document::text)), 0) FROM assets
			WHERE tenant = $1 AND app = $2 AND asset <> $3`, asset.Tenant, asset.App, asset.Asset).Scan(&count, &size)
		if err != nil {
			return err
		}
		if count >= assetsMost || size+int64(len(text)) > who.Storage {
			return errFull
		}
		version, err = next(ctx, tx, asset, string(text), who)
		if err != nil {
			return err
		}
		_, err = tx.Exec(ctx, `INSERT INTO assets VALUES ($1, $2, $3, $4, $5, now())
			ON CONFLICT (tenant, app, asset) DO UPDATE SET version = $4, document = $5, changed = now()`,
			asset.Tenant, asset.App, asset.Asset, version, string(text))
		return err
	})
	return version, err
}

// next adds a version to the history of an asset. The oldest ones go: of the asset, where there are more than are kept, and
// of the app, where they come to more bytes than its documents may.
func next(ctx context.Context, tx pgx.Tx, asset name, text any, who *account) (version int64, err error) {
	err = tx.QueryRow(ctx, `INSERT INTO versions
		SELECT $1, $2, $3, 1 + greatest(coalesce(max(version), 0), coalesce((SELECT version FROM assets
			WHERE tenant = $1 AND app = $2 AND asset = $3), 0)), $4::jsonb, now(), $5 FROM versions
		WHERE tenant = $1 AND app = $2 AND asset = $3 RETURNING version`,
		asset.Tenant, asset.App, asset.Asset, text, who.Name).Scan(&version)
	if err != nil {
		return 0, err
	}
	_, err = tx.Exec(ctx, `DELETE FROM versions WHERE tenant = $1 AND app = $2 AND asset = $3 AND version <= $4`,
		asset.Tenant, asset.App, asset.Asset, version-versionsMost)
	if err != nil {
		return 0, err
	}
	_, err = tx.Exec(ctx, `DELETE FROM versions v USING (SELECT asset, version,
			sum(coalesce(octet_length(document::text), 0) + 100) OVER (ORDER BY changed DESC, version DESC, asset) AS bytes
			FROM versions WHERE tenant = $1 AND app = $2) known
		WHERE v.tenant = $1 AND v.app = $2 AND v.asset = known.asset AND v.version = known.version AND known.bytes > $3`,
		asset.Tenant, asset.App, who.Storage+documentMost)
	return version, err
}

// remove takes an asset away. Its history stays, and says who did it.
func (c *catalogue) remove(ctx context.Context, asset name, who *account) error {
	return pgx.BeginFunc(ctx, c.pool, func(tx pgx.Tx) error {
		done, err := tx.Exec(ctx, `DELETE FROM assets WHERE tenant = $1 AND app = $2 AND asset = $3`,
			asset.Tenant, asset.App, asset.Asset)
		if err != nil || done.RowsAffected() == 0 {
			return err
		}
		if _, err := tx.Exec(ctx, `DELETE FROM quality WHERE tenant = $1 AND app = $2 AND asset = $3`,
			asset.Tenant, asset.App, asset.Asset); err != nil {
			return err
		}
		_, err = next(ctx, tx, asset, nil, who)
		return err
	})
}

// A search is for what the catalogue lists, in the order of names.
type search struct {
	text, kind, tenant, after string
	limit                     int
}

// list returns the assets that a tenant sees.
func (c *catalogue) list(ctx context.Context, viewer string, wanted search) ([]*stored, error) {
	return c.query(ctx, `SELECT `+assetColumns+` FROM assets
		WHERE (tenant = $1 OR document ->> 'sharing' <> '`+shareNone+`')
		AND ($2 = '' OR strpos(lower(concat_ws(' ', asset, document ->> 'title', document ->> 'description')), lower($2)) > 0)
		AND ($3 = '' OR document ->> 'kind' = $3) AND ($4 = '' OR tenant = $4)
		AND (tenant || '/' || app || '/' || asset) COLLATE "C" > $5
		ORDER BY (tenant || '/' || app || '/' || asset) COLLATE "C" LIMIT $6`,
		viewer, wanted.text, wanted.kind, wanted.tenant, wanted.after, wanted.limit)
}

// made returns the assets that say that they are made of this one, as far as a tenant sees them.
func (c *catalogue) made(ctx context.Context, viewer string, source name) ([]*stored, error) {
	text, _ := json.Marshal([]string{source.String()})
	return c.query(ctx, `SELECT `+assetColumns+` FROM assets WHERE document -> 'sources' @> $1::jsonb
		AND (tenant = $2 OR document ->> 'sharing' <> '`+shareNone+`') ORDER BY tenant, app, asset LIMIT 1000`,
		string(text), viewer)
}

func (c *catalogue) query(ctx context.Context, text string, values ...any) ([]*stored, error) {
	rows, err := c.pool.Query(ctx, text, values...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	found := []*stored{}
	for rows.Next() {
		item, err := scan(rows)
		if err != nil {
			return nil, err
		}
		found = append(found, item)
	}
	return found, rows.Err()
}

// A result is what a check of an asset's content has found.
type result struct {
	At     time.Time `json:"at"`
	Rule   string    `json:"rule"`
	Passed bool      `json:"passed"`
	Detail string    `json:"detail,omitempty"`
}

func (c *catalogue) addResult(ctx context.Context, asset name, item result) error {
	return pgx.BeginFunc(ctx, c.pool, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, `INSERT INTO quality (tenant, app, asset, at, rule, passed, detail)
			VALUES ($1, $2, $3, $4, $5, $6, $7)`,
			asset.Tenant, asset.App, asset.Asset, item.At, item.Rule, item.Passed, item.Detail); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, `DELETE FROM quality WHERE tenant = $1 AND app = $2 AND asset = $3 AND number NOT IN
			(SELECT number FROM quality WHERE tenant = $1 AND app = $2 AND asset = $3 ORDER BY number DESC LIMIT $4)`,
			asset.Tenant, asset.App, asset.Asset, qualityMost)
		return err
	})
}

func (c *catalogue) results(ctx context.Context, asset name) ([]result, error) {
	rows, err := c.pool.Query(ctx, `SELECT at, rule, passed, detail FROM quality
		WHERE tenant = $1 AND app = $2 AND asset = $3 ORDER BY number DESC`, asset.Tenant, asset.App, asset.Asset)
	if err != nil {
		return nil, err
	}
	found, err := pgx.CollectRows(rows, pgx.RowToStructByPos[result])
	for index := range found {
		found[index].At = found[index].At.UTC()
	}
	return found, err
}

// A version is an entry of an asset's history; the document is null where the asset was removed.
type version struct {
	Version  int64           `json:"version"`
	Document json.RawMessage `json:"document"`
	Changed  time.Time       `json:"changed"`
	Account  string          `json:"account"`
}

func (c *catalogue) history(ctx context.Context, asset name) ([]version, error) {
	rows, err := c.pool.Query(ctx, `SELECT version, document::text::bytea, changed, account FROM versions
		WHERE tenant = $1 AND app = $2 AND asset = $3 ORDER BY version DESC`, asset.Tenant, asset.App, asset.Asset)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (version, error) {
		var found version
		var text []byte
		err := row.Scan(&found.Version, &text, &found.Changed, &found.Account)
		if text != nil {
			found.Document = text
		}
		return found, err
	})
}

// A call is what a consumer asked of an asset, and what came of it.
type call struct {
	Number   int64     `json:"number"`
	At       time.Time `json:"at"`
	Account  string    `json:"account"`
	Consumer string    `json:"consumer"`
	Asset    string    `json:"asset"`
	Columns  []string  `json:"columns"`
	Purpose  string    `json:"purpose"`
	Rows     int       `json:"rows"`
	Outcome  string    `json:"outcome"`
	Reason   string    `json:"reason,omitempty"`
}

// shortened is a call as far as it is recorded: what an owner names its columns, and a consumer its purpose, may be long.
func (c call) shortened() call {
	bytes := 0
	for index, item := range c.Columns {
		if bytes += len(item); bytes > callColumns {
			more := fmt.Sprintf("and %d more", len(c.Columns)-index)
			c.Columns = append(slices.Clone(c.Columns[:index]), more)
			break
		}
	}
	c.Purpose, c.Reason = cut(c.Purpose), cut(c.Reason)
	return c
}

func (c *catalogue) record(ctx context.Context, asset name, item call) error {
	_, err := c.pool.Exec(ctx, `INSERT INTO calls
		(account, consumer, tenant, app, asset, columns, purpose, rows, outcome, reason)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)`, item.Account, item.Consumer, asset.Tenant, asset.App, asset.Asset,
		item.Columns, item.Purpose, item.Rows, item.Outcome, item.Reason)
	return err
}

// calls returns the latest calls of an asset before a number, of all assets where it is nil.
func (c *catalogue) calls(ctx context.Context, asset *name, before int64, limit int) ([]call, error) {
	where, values := "", []any{before, limit}
	if asset != nil {
		where = "AND tenant = $3 AND app = $4 AND asset = $5"
		values = append(values, asset.Tenant, asset.App, asset.Asset)
	}
	rows, err := c.pool.Query(ctx, fmt.Sprintf(`SELECT number, at, account, consumer, tenant || '/' || app || '/' || asset,
		columns, purpose, rows, outcome, reason FROM calls WHERE number < $1 %s ORDER BY number DESC LIMIT $2`, where), values...)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowToStructByPos[call])
}

// forget deletes calls that are kept no longer, until there are none.
func (c *catalogue) forget(ctx context.Context) error {
	for {
		done, err := c.pool.Exec(ctx, `DELETE FROM calls WHERE number IN (SELECT number FROM calls
			WHERE at < now() - make_interval(days => $1) OR number <= (SELECT max(number) FROM calls) - $2
			ORDER BY number LIMIT $3)`, callDays, callsMost, callsAtATime)
		if err != nil || done.RowsAffected() < callsAtATime {
			return err
		}
	}
}

func cut(text string) string {
	if len(text) > callText {
		text = text[:callText]
	}
	return strings.ToValidUTF8(strings.ReplaceAll(text, "\x00", ""), "")
}
