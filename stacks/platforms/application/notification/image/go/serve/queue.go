package serve

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"
)

// The lock of who sends: two pods that follow one another do not both send a message.
const senderLock = 1907008

// release gives back what a sender that is no longer there had taken. The caller has the lock.
func (s *store) release(ctx context.Context) error {
	_, err := s.pool.Exec(ctx, `UPDATE messages SET claimed = false WHERE state = 'queued' AND claimed`)
	return err
}

// claim takes messages of a channel that are due, the longest due first, of all accounts in turn: of each at most what it
// may have sent at a time, without the `running` of its own, and `most` of all.
func (s *store) claim(ctx context.Context, channel string, running map[string]int, most int) ([]message, error) {
	names, counts := []string{}, []int{}
	for name, count := range running {
		names, counts = append(names, name), append(counts, count)
	}
	rows, err := s.pool.Query(ctx, `
		WITH busy AS (SELECT * FROM unnest($2::text[], $3::integer[]) AS busy (account, count)),
		due AS (
			SELECT found.number, row_number() OVER (PARTITION BY a.name ORDER BY found.due, found.number) AS turn, found.due
			FROM accounts a LEFT JOIN busy ON busy.account = a.name CROSS JOIN LATERAL (
				SELECT number, due FROM messages m WHERE m.account = a.name AND m.channel = $1 AND m.state = 'queued'
				AND NOT m.claimed AND m.due <= now() ORDER BY m.due, m.number
				LIMIT greatest(a.at_once - coalesce(busy.count, 0), 0)
			) found
		)
		UPDATE messages m SET claimed = true, tries = tries + 1 FROM accounts a
		WHERE m.number IN (SELECT number FROM due ORDER BY turn, due LIMIT $4) AND a.name = m.account
		RETURNING m.number, m.id, m.account, a.tenant, a.app, m.channel, m.receiver, m.subject, m.text, m.digest, m.key,
			m.tries, m.accepted`, channel, names, counts, most)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowToStructByPos[message])
}

// end writes that a message was sent, or that it never will be. Its texts are forgotten unless they are to be kept.
func (s *store) end(ctx context.Context, item *message, state, reason string, isKept bool) error {
	return pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
		// The account first, as `accept` does.
		if _, err := tx.Exec(ctx, `UPDATE accounts SET used = used - (SELECT coalesce(sum(size - $3), 0) FROM messages
			WHERE number = $2 AND NOT $4) WHERE name = $1`, item.Account, item.Number, endedBytes, isKept); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, `UPDATE messages SET state = $2, reason = $3, ended = now(), claimed = false,
			subject = CASE WHEN $4 THEN subject ELSE '' END, text = CASE WHEN $4 THEN text ELSE '' END,
			receiver = CASE WHEN $4 THEN receiver ELSE '' END, size = CASE WHEN $4 THEN size ELSE $5 END
			WHERE number = $1`, item.Number, state, reason, isKept, endedBytes)
		return err
	})
}

// postpone gives a message back, to be tried again after a pause.
func (s *store) postpone(ctx context.Context, item *message, reason string, pause time.Duration) error {
	_, err := s.pool.Exec(ctx, `UPDATE messages SET claimed = false, reason = $2, due = now() + $3::float8 * interval '1 second'
		WHERE number = $1`, item.Number, reason, pause.Seconds())
	return err
}

// forget deletes messages that ended long enough ago, some at a time; it returns how many.
func (s *store) forget(ctx context.Context) (count int64, err error) {
	err = s.pool.QueryRow(ctx, `WITH old AS (
			DELETE FROM messages WHERE number IN (
				SELECT number FROM messages WHERE ended < now() - $1 * interval '1 day' LIMIT 10000
			) RETURNING account, size
		), sums AS (SELECT account, sum(size) AS size, count(*) AS count FROM old GROUP BY account),
		changed AS (
			UPDATE accounts SET used = used - sums.size FROM sums WHERE accounts.name = sums.account RETURNING sums.count
		) SELECT coalesce(sum(count), 0)::bigint FROM changed`, keptForDays).Scan(&count)
	return count, err
}

// A waiting tells how many messages of an account are queued, and for how many seconds the oldest has been.
type waiting struct {
	Tenant, App string
	Count       int64
	Seconds     float64
}

func (s *store) waiting(ctx context.Context) ([]waiting, error) {
	rows, err := s.pool.Query(ctx, `SELECT a.tenant, a.app, count(m.number),
		coalesce(extract(epoch FROM now() - min(m.accepted)), 0)::float8
		FROM accounts a LEFT JOIN messages m ON m.account = a.name AND m.state = 'queued'
		WHERE a.name <> $1 GROUP BY a.tenant, a.app ORDER BY 1, 2`, prober)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowToStructByPos[waiting])
}

// A failing tells of messages of an app that are tried again, or were given up within a day, and the reason of the last.
type failing struct {
	App     string `json:"app"`
	Channel string `json:"channel"`
	State   string `json:"state"`
	Count   int64  `json:"count"`
	Reason  string `json:"reason"`
}

func (s *store) failing(ctx context.Context) ([]failing, error) {
	rows, err := s.pool.Query(ctx, `SELECT a.tenant || '/' || a.app, m.channel, m.state, count(*),
		(array_agg(m.reason ORDER BY m.number DESC))[1]
		FROM messages m JOIN accounts a ON a.name = m.account
		WHERE m.reason <> '' AND m.state <> 'sent' AND a.name <> $1 GROUP BY 1, 2, 3 ORDER BY 1, 2, 3 LIMIT 100`, prober)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowToStructByPos[failing])
}
