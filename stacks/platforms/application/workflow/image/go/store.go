package main

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"regexp"
	"sort"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

var (
	errOwner = errors.New("the account is another owner's")
	names    = regexp.MustCompile(`^[a-z0-9]([a-z0-9._-]{0,61}[a-z0-9])?$`)
	owners   = regexp.MustCompile(`^[a-z0-9-]+/[A-Za-z0-9._-]+/[A-Za-z0-9._-]+$`)
)

// Of the database's connections, how many this program takes.
const poolSize = 4

const schema = `CREATE TABLE IF NOT EXISTS wecity_account (
	name text PRIMARY KEY, owner text NOT NULL, password bytea, requests int NOT NULL, storage bigint NOT NULL,
	locked bigint NOT NULL DEFAULT 0)`

// What an account's definitions, instances, tasks, variables and their history take. Rows that name no account belong to
// an instance or a deployment that does.
const measure = `SELECT tenant, sum(bytes)::bigint FROM (
	SELECT d.tenant_id_ AS tenant, sum(octet_length(b.bytes_))::bigint AS bytes
		FROM act_ge_bytearray b JOIN act_re_deployment d ON d.id_ = b.deployment_id_ GROUP BY 1
	UNION ALL SELECT tenant_id_, sum(pg_column_size(t)) FROM act_re_procdef t GROUP BY 1
	UNION ALL SELECT tenant_id_, sum(pg_column_size(t)) FROM act_ru_execution t GROUP BY 1
	UNION ALL SELECT tenant_id_, sum(pg_column_size(t)) FROM act_ru_task t GROUP BY 1
	UNION ALL SELECT tenant_id_, sum(pg_column_size(t)) FROM act_ru_actinst t GROUP BY 1
	UNION ALL SELECT e.tenant_id_, sum(pg_column_size(t))
		FROM act_ru_variable t JOIN act_ru_execution e ON e.id_ = t.proc_inst_id_ GROUP BY 1
	UNION ALL SELECT tenant_id_, sum(pg_column_size(t)) FROM act_hi_procinst t GROUP BY 1
	UNION ALL SELECT tenant_id_, sum(pg_column_size(t)) FROM act_hi_taskinst t GROUP BY 1
	UNION ALL SELECT tenant_id_, sum(pg_column_size(t)) FROM act_hi_actinst t GROUP BY 1
	UNION ALL SELECT tenant_id_, sum(pg_column_size(t)) FROM act_ru_timer_job t GROUP BY 1
	UNION ALL SELECT p.tenant_id_, sum(pg_column_size(t))
		FROM act_hi_detail t JOIN act_hi_procinst p ON p.id_ = t.proc_inst_id_ GROUP BY 1
	UNION ALL SELECT p.tenant_id_, sum(pg_column_size(t))
		FROM act_hi_identitylink t JOIN act_hi_taskinst p ON p.id_ = t.task_id_ GROUP BY 1
	UNION ALL SELECT p.tenant_id_, sum(pg_column_size(t))
		FROM act_hi_varinst t JOIN act_hi_procinst p ON p.id_ = t.proc_inst_id_ GROUP BY 1
) parts GROUP BY tenant`

type digest [sha256.Size]byte

// digestOf is the SHA-256 of a password. Passwords are generated and long, so that nothing slower is needed.
func digestOf(password string) digest { return sha256.Sum256([]byte(password)) }

func (d digest) fits(password string) bool {
	other := digestOf(password)
	return subtle.ConstantTimeCompare(d[:], other[:]) == 1
}

// account is whose processes somebody sees: its name is the tenant of all that the engine stores for it. Requests is how
// many it may have at a time, storage how many bytes. Locked is when it was locked, in seconds since 1970.
type account struct {
	name, owner string
	password    []byte
	requests    int
	storage     int64
	locked      int64
}

// app is TENANT/APP, by which others address tasks to it. Its owner is TENANT/APP/NAME of the use.
func (a account) app() string {
	parts := strings.SplitN(a.owner, "/", 3)
	if len(parts) < 2 {
		return ""
	}
	return parts[0] + "/" + parts[1]
}

func (a account) tenant() string { tenant, _, _ := strings.Cut(a.owner, "/"); return tenant }

// store has the accounts, in the database that the engine has.
type store struct {
	pool  *pgxpool.Pool
	mutex sync.RWMutex
	known map[string]account
	used  map[string]int64
}

func openStore(ctx context.Context, address string) (*store, error) {
	config, err := pgxpool.ParseConfig(address)
	if err != nil {
		return nil, err
	}
	config.MaxConns = poolSize
	pool, err := pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		return nil, err
	}
	made := &store{pool: pool, known: map[string]account{}, used: map[string]int64{}}
	if _, err := pool.Exec(ctx, schema); err != nil {
		return nil, err
	}
	return made, made.load(ctx)
}

func (s *store) load(ctx context.Context) error {
	rows, err := s.pool.Query(ctx, "SELECT name, owner, coalesce(password, ''), requests, storage, locked FROM wecity_account")
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var item account
		if err := rows.Scan(&item.name, &item.owner, &item.password, &item.requests, &item.storage, &item.locked); err != nil {
			return err
		}
		s.known[item.name] = item
	}
	return rows.Err()
}

// find returns the account if the password is its own and it is not locked.
func (s *store) find(name, password string) (account, bool) {
	item, ok := s.named(name)
	sum := digestOf(password)
	return item, ok && item.locked == 0 && subtle.ConstantTimeCompare(sum[:], item.password) == 1
}

func (s *store) named(name string) (account, bool) {
	s.mutex.RLock()
	defer s.mutex.RUnlock()
	item, ok := s.known[name]
	return item, ok
}

// put makes or opens an account. One of another owner stays as it is.
func (s *store) put(ctx context.Context, item account, password string) error {
	if !names.MatchString(item.name) || !owners.MatchString(item.owner) || item.name == administrator {
		return fmt.Errorf("%q of %q is no account", item.name, item.owner)
	}
	if len(password) < 16 {
		return errors.New("the password is too short")
	}
	if item.requests < 1 || item.storage < 1 {
		return errors.New("the limits of requests and storage are less than 1")
	}
	s.mutex.Lock()
	defer s.mutex.Unlock()
	if old, ok := s.known[item.name]; ok && old.owner != item.owner {
		return errOwner
	}
	sum := digestOf(password)
	item.password, item.locked = sum[:], 0
	return s.write(ctx, item)
}

// lock takes an account's password away. It keeps the time of the first lock.
func (s *store) lock(ctx context.Context, name, owner string) error {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	item, ok := s.known[name]
	if !ok || item.owner != owner {
		return nil
	}
	if item.locked == 0 {
		item.locked = time.Now().Unix()
	}
	item.password = nil
	return s.write(ctx, item)
}

func (s *store) write(ctx context.Context, item account) error {
	_, err := s.pool.Exec(ctx, `INSERT INTO wecity_account (name, owner, password, requests, storage, locked)
		VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (name) DO UPDATE SET
		password = $3, requests = $4, storage = $5, locked = $6`,
		item.name, item.owner, item.password, item.requests, item.storage, item.locked)
	if err == nil {
		s.known[item.name] = item
	}
	return err
}

// forget removes an account, whose processes are gone.
func (s *store) forget(ctx context.Context, name string) error {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	if _, err := s.pool.Exec(ctx, "DELETE FROM wecity_account WHERE name = $1", name); err != nil {
		return err
	}
	delete(s.known, name)
	delete(s.used, name)
	return nil
}

func (s *store) list() []account {
	s.mutex.RLock()
	defer s.mutex.RUnlock()
	found := make([]account, 0, len(s.known))
	for _, item := range s.known {
		found = append(found, item)
	}
	sort.Slice(found, func(i, j int) bool { return found[i].name < found[j].name })
	return found
}

// measure counts anew what each account takes.
func (s *store) measure(ctx context.Context) error {
	rows, err := s.pool.Query(ctx, measure)
	if err != nil {
		return err
	}
	defer rows.Close()
	used := map[string]int64{}
	for rows.Next() {
		var name *string
		var bytes int64
		if err := rows.Scan(&name, &bytes); err != nil {
			return err
		}
		if name != nil {
			used[*name] = bytes
		}
	}
	if rows.Err() != nil {
		return rows.Err()
	}
	s.mutex.Lock()
	defer s.mutex.Unlock()
	s.used = used
	return nil
}

// took counts what was sent since the last measurement.
func (s *store) took(name string, bytes int64) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	s.used[name] += bytes
}

func (s *store) uses(name string) int64 {
	s.mutex.RLock()
	defer s.mutex.RUnlock()
	return s.used[name]
}

// size is how much the engine reads of an instance.
type size struct{ variables, places, steps int }

// size counts what the instance has that a task is of.
func (s *store) size(ctx context.Context, task string) (found size, err error) {
	err = s.pool.QueryRow(ctx, `SELECT
		(SELECT count(*) FROM act_ru_variable WHERE proc_inst_id_ = t.proc_inst_id_),
		(SELECT count(*) FROM act_ru_execution WHERE proc_inst_id_ = t.proc_inst_id_),
		(SELECT count(*) FROM act_hi_actinst WHERE proc_inst_id_ = t.proc_inst_id_)
		FROM act_ru_task t WHERE t.id_ = $1`, task).Scan(&found.variables, &found.places, &found.steps)
	return found, err
}

// deployed counts the instances of a deployment, those that have ended too, and the steps that they have taken.
func (s *store) deployed(ctx context.Context, deployment string) (instances, steps int, err error) {
	err = s.pool.QueryRow(ctx, `SELECT
		(SELECT count(*) FROM act_hi_procinst i JOIN act_re_procdef d ON d.id_ = i.proc_def_id_ WHERE d.deployment_id_ = $1),
		(SELECT count(*) FROM act_hi_actinst i JOIN act_re_procdef d ON d.id_ = i.proc_def_id_ WHERE d.deployment_id_ = $1)`,
		deployment).Scan(&instances, &steps)
	return instances, steps, err
}

// instances are some of those of an account, with whether they have ended.
func (s *store) instances(ctx context.Context, name string) (map[string]bool, error) {
	rows, err := s.pool.Query(ctx, "SELECT id_, end_time_ IS NOT NULL FROM act_hi_procinst WHERE tenant_id_ = $1 LIMIT 100", name)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	found := map[string]bool{}
	for rows.Next() {
		var id string
		var ended bool
		if err := rows.Scan(&id, &ended); err != nil {
			return nil, err
		}
		found[id] = ended
	}
	return found, rows.Err()
}

// deployments are those of an account. There are at most as many as it may have definitions.
func (s *store) deployments(ctx context.Context, name string) ([]string, error) {
	rows, err := s.pool.Query(ctx, "SELECT id_ FROM act_re_deployment WHERE tenant_id_ = $1", name)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowTo[string])
}

// open counts the definitions and the instances of an account that have not ended.
func (s *store) open(ctx context.Context, name string) (definitions, instances int64, err error) {
	err = s.pool.QueryRow(ctx, `SELECT (SELECT count(*) FROM act_re_procdef WHERE tenant_id_ = $1),
		(SELECT count(*) FROM act_ru_execution WHERE tenant_id_ = $1 AND parent_id_ IS NULL)`, name).Scan(&definitions, &instances)
	return definitions, instances, err
}
