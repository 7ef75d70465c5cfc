package serve

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

const (
	// How long a statement may take, and a connection may be unused.
	statementTime, idleTime = 10 * time.Second, 30 * time.Second
	// Bytes of one row as the server sends it, and of the values of a page.
	rowMost, bytesMost = 1 << 20, 1 << 20
)

var errBusy = errors.New("too many tables are read at the moment: try again")

// A reader reads tables in the databases of one server, as a role that has no rights but those that owners grant it.
//
// Views, indices and policies of a table can have functions of its owner's, which run as this role: it has nothing to
// lose but its other sessions. The catalogue is another role's.
type reader struct {
	config *pgconn.Config
	slots  chan struct{}
	mutex  sync.Mutex
	idle   []*session
}

type session struct {
	*pgconn.PgConn
	database string
	since    time.Time
}

func newReader(uri string, connections int) (*reader, error) {
	config, err := pgconn.ParseConfig(uri)
	if err != nil {
		return nil, err
	}
	// Sent with the connection, so that they go before what an owner has set for its database.
	config.RuntimeParams = map[string]string{
		"application_name": "data-services", "search_path": "pg_catalog", "default_transaction_read_only": "on",
		"row_security": "off", "jit": "off", "standard_conforming_strings": "on", "extra_float_digits": "1",
		"client_encoding": "UTF8", "DateStyle": "ISO", "IntervalStyle": "iso_8601", "TimeZone": "UTC", "bytea_output": "hex",
		"statement_timeout": strconv.Itoa(int(statementTime.Milliseconds())), "lock_timeout": "2000",
		"idle_in_transaction_session_timeout": "15000", "max_parallel_workers_per_gather": "0",
	}
	config.MaxProtocolMessageBodyLen = rowMost
	config.ConnectTimeout = 5 * time.Second
	return &reader{config: config, slots: make(chan struct{}, connections)}, nil
}

// probed is the table that the capability's probe reads, in the database of the role itself.
const probed = `BEGIN READ WRITE;
CREATE TABLE IF NOT EXISTS public.probed (id integer PRIMARY KEY, told text NOT NULL);
COMMENT ON TABLE public.probed IS 'data asset capability/probe/probe';
INSERT INTO public.probed VALUES (1, 'read') ON CONFLICT DO NOTHING;
COMMIT`

// prepare makes the table that is probed.
func (r *reader) prepare(ctx context.Context) error {
	made, err := pgconn.ConnectConfig(ctx, r.config.Copy())
	if err != nil {
		return err
	}
	_, err = made.Exec(ctx, probed).ReadAll()
	return errors.Join(err, made.Close(ctx))
}

// take returns a session in a database with a transaction that it has begun, which the caller gives back.
func (r *reader) take(ctx context.Context, database string) (*session, error) {
	timer := time.NewTimer(2 * time.Second)
	defer timer.Stop()
	select {
	case r.slots <- struct{}{}:
	case <-timer.C:
		return nil, errBusy
	}
	const begin = "BEGIN READ ONLY ISOLATION LEVEL REPEATABLE READ"
	for found := r.reuse(database); found != nil; found = r.reuse(database) {
		// The server may have ended it.
		if _, err := found.Exec(ctx, begin).ReadAll(); err == nil {
			return found, nil
		}
		_ = found.Close(ctx)
	}
	made, err := r.connect(ctx, database)
	if err == nil {
		if _, err = made.Exec(ctx, begin).ReadAll(); err != nil {
			_ = made.Close(ctx)
		}
	}
	if err != nil {
		<-r.slots
		return nil, err
	}
	return &session{PgConn: made, database: database}, nil
}

// connect opens a session in a database. One that was just ended counts for the server until its process is gone.
func (r *reader) connect(ctx context.Context, database string) (*pgconn.PgConn, error) {
	config := r.config.Copy()
	config.Database = database
	for until := time.Now().Add(2 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		made, err := pgconn.ConnectConfig(ctx, config)
		var told *pgconn.PgError
		// Source: PostgreSQL's documentation, appendix A: too_many_connections.
		if err == nil || !errors.As(err, &told) || told.Code != "53300" || time.Now().After(until) {
			return made, err
		}
	}
}

// reuse returns an idle session in the database. Where there is none it ends the oldest one of another, so that sessions
// that are open are never more than the role may have.
func (r *reader) reuse(database string) *session {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	for index := len(r.idle) - 1; index >= 0; index-- {
		if found := r.idle[index]; found.database == database {
			r.idle = append(r.idle[:index], r.idle[index+1:]...)
			return found
		}
	}
	if len(r.idle)+len(r.slots) > cap(r.slots) && len(r.idle) > 0 {
		oldest := r.idle[0]
		r.idle = r.idle[1:]
		ending, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_ = oldest.Close(ending)
	}
	return nil
}

// give takes a session back, as it was in the beginning; one in which something failed is ended.
func (r *reader) give(used *session, failed bool) {
	defer func() { <-r.slots }()
	within, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	if !failed && !used.IsClosed() {
		_, rolled := used.Exec(within, "ROLLBACK").ReadAll()
		_, discarded := used.Exec(within, "DISCARD ALL").ReadAll()
		if rolled == nil && discarded == nil {
			used.since = time.Now()
			r.mutex.Lock()
			defer r.mutex.Unlock()
			r.idle = append(r.idle, used)
			return
		}
	}
	_ = used.Close(within)
}

// sweep ends sessions that nobody has used for a time, so that an owner's database can be dropped or restored.
func (r *reader) sweep(ctx context.Context) {
	r.mutex.Lock()
	var kept, ended []*session
	for _, item := range r.idle {
		if time.Since(item.since) < idleTime {
			kept = append(kept, item)
		} else {
			ended = append(ended, item)
		}
	}
	r.idle = kept
	r.mutex.Unlock()
	for _, item := range ended {
		_ = item.Close(ctx)
	}
}

// A page is rows as they are answered, and the position of the last one if there are more.
type page struct {
	rows  [][]any
	bytes int
	next  *position
}

// read returns the page of a question. The table has to say whose asset it is, in a comment that nobody but its owner
// can make: the rights of the role alone would let one owner publish what another granted.
func (r *reader) read(ctx context.Context, asset name, t *table, rows []condition, q *question) (found *page, err error) {
	// A client that leaves ends nothing: what it has begun at the server would go on without being counted.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), statementTime+5*time.Second)
	defer cancel()
	used, err := r.take(ctx, t.Database)
	if err != nil {
		return nil, err
	}
	defer func() { r.give(used, err != nil) }()
	if err = consents(ctx, used, asset, t); err != nil {
		return nil, err
	}
	text, values := q.sql(t, rows)
	result := used.ExecParams(ctx, text, values, nil, nil, nil)
	found = &page{}
	fields := result.FieldDescriptions()
	kept := len(q.columns)
	var last *position
	for result.NextRow() {
		row := result.Values()
		size := 0
		for _, item := range row[:kept] {
			size += len(item) + 8
		}
		if len(found.rows) == q.page {
			found.next = last
			break
		}
		if len(found.rows) > 0 && found.bytes+size > bytesMost {
			found.next = last
			// Up to a thousand large rows may follow, which nobody reads.
			_ = used.Close(ctx)
			return found, nil
		}
		found.bytes += size
		values := make([]any, kept)
		for index := range kept {
			values[index] = valueOf(fields[index].DataTypeOID, row[index])
		}
		found.rows = append(found.rows, values)
		if last, err = q.position(row[kept:]); err != nil {
			return nil, err
		}
	}
	if _, err = result.Close(); err != nil {
		return nil, err
	}
	return found, nil
}

func (q *question) position(row [][]byte) (*position, error) {
	found := &position{}
	if q.order != "" {
		if row[0] != nil {
			value := string(row[0])
			found.Order = &value
		}
		row = row[1:]
	}
	for _, item := range row {
		if item == nil {
			return nil, wrong("table.key", "a row of the table has no value in a column of the key")
		}
		found.Key = append(found.Key, string(item))
	}
	return found, nil
}

const consentQuery = `SELECT coalesce(pg_catalog.obj_description(c.oid, 'pg_class'), ''), c.relkind,
  (SELECT count(*) FROM pg_catalog.pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0 AND a.atttypid >= 16384)
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = $1 AND c.relname = $2`

// errConsent says that a table is not there, or is not said to be the asset.
type errConsent struct{ reason string }

func (e *errConsent) Error() string { return e.reason }

func consents(ctx context.Context, used *session, asset name, t *table) error {
	values := [][]byte{[]byte(t.Schema), []byte(t.Name)}
	found := used.ExecParams(ctx, consentQuery, values, nil, nil, nil).Read()
	if found.Err != nil {
		return found.Err
	}
	if len(found.Rows) != 1 {
		return &errConsent{fmt.Sprintf("there is no table %s.%s in %s", t.Schema, t.Name, t.Database)}
	}
	comment, kind := string(found.Rows[0][0]), string(found.Rows[0][1])
	if kind != "r" && kind != "p" && kind != "m" && kind != "v" {
		return &errConsent{fmt.Sprintf("%s.%s is no table or view of the database itself", t.Schema, t.Name)}
	}
	if string(found.Rows[0][2]) != "0" {
		return &errConsent{fmt.Sprintf("%s.%s has columns of types that are not the server's own", t.Schema, t.Name)}
	}
	if !says(comment, asset) {
		return &errConsent{fmt.Sprintf("the comment of %s.%s does not have the line %q", t.Schema, t.Name, consentLine(asset))}
	}
	return nil
}
