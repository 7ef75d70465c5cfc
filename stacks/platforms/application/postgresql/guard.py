"""The guard, a container beside a PostgreSQL server that enforces limits which a role could change for its sessions.

Timeouts are settings that every session can change, and the server has no quota per database. Every few seconds the
guard terminates statements, transactions and sessions that exceed the role's limits, and sessions whose temporary files
or notifications fill the volume. A database at its storage limit becomes read-only by default: the app gets an error
and can still delete data after `SET transaction_read_only = off`. At 120 percent of the limit it is closed until the
limit is raised. What is written between two checks is not prevented.

The guard also makes the server reload a renewed certificate; sessions continue.
"""

from __future__ import annotations

from stacks.platforms.application.postgresql.access import (
    BINARIES,
    IDLE_IN_TRANSACTION,
    IDLE_SESSION,
    LOCK,
    TABLE,
)

# The interval between two checks, and how long after a role's own timeout the guard ends a session; in seconds.
PERIOD, GRACE = 2, 5
# A transaction may last this many statement timeouts. Rows that it deleted cannot be vacuumed before it ends.
STATEMENTS_IN_A_TRANSACTION = 6
# In percent of the storage limit: the database is closed at the first value and reopened below the second.
CLOSED, OPEN = 120, 95
TEMPORARY_FILES_OF_A_ROLE = 1024**3
# Bytes in the queue of notifications, which all databases of a server share and which holds 8 GiB. Above the first
# value, sessions are ended in databases that have filled it; above the second, also those that keep it from draining.
NOTIFICATIONS, NOTIFICATIONS_HELD = 128 * 1024**2, 512 * 1024**2
_QUEUE = 8 * 1024**3

_LOOP = f"""
DO $guard$
DECLARE
  item record;
  wanted text;
  ended integer;
  loaded bytea;
  certificate bytea;
BEGIN
  LOOP
    IF current_setting('ssl') = 'on' THEN
      certificate := sha256(pg_read_binary_file(current_setting('ssl_cert_file')));
      -- Once at the start as well: it may have been renewed while no guard was there.
      IF certificate IS DISTINCT FROM loaded THEN
        PERFORM pg_reload_conf();
        IF loaded IS NOT NULL THEN RAISE NOTICE 'guard: the server takes over its renewed certificate'; END IF;
        loaded := certificate;
      END IF;
    END IF;
    SELECT count(pg_terminate_backend(a.pid)) INTO ended
    FROM pg_stat_activity a JOIN wecity.limits l ON l.role = a.usename
    WHERE a.backend_type = 'client backend' AND (
      l.statement_seconds > 0 AND a.state = 'active'
        AND clock_timestamp() - a.query_start > make_interval(secs => l.statement_seconds + {GRACE})
      OR a.state LIKE 'idle in transaction%'
        AND clock_timestamp() - a.state_change > make_interval(secs => {IDLE_IN_TRANSACTION + GRACE})
      OR a.state = 'idle' AND clock_timestamp() - a.state_change > make_interval(secs => {IDLE_SESSION + GRACE})
      OR l.statement_seconds > 0 AND clock_timestamp() - a.xact_start
        > make_interval(secs => l.statement_seconds * {STATEMENTS_IN_A_TRANSACTION} + {GRACE})
    );
    IF ended > 0 THEN RAISE NOTICE 'guard: ended % sessions that lasted too long', ended; END IF;
    SELECT count(pg_terminate_backend(pid)) INTO ended
    FROM (
      SELECT a.pid, sum(t.size) OVER (PARTITION BY a.usename) AS whole
      FROM pg_ls_tmpdir() t
      JOIN pg_stat_activity a ON t.name ~ ('^pgsql_tmp' || a.pid || '[.]')
      JOIN wecity.limits l ON l.role = a.usename
    ) files
    WHERE whole > {TEMPORARY_FILES_OF_A_ROLE};
    IF ended > 0 THEN RAISE NOTICE 'guard: ended % sessions whose temporary files were too many', ended; END IF;
    IF pg_notification_queue_usage() * {_QUEUE} > {NOTIFICATIONS} THEN
      -- The first entry of each file of 256 KiB has its database's number in the bytes from the fifth; 0 is padding.
      SELECT count(pg_terminate_backend(a.pid, 1000)) INTO ended
      FROM pg_stat_activity a JOIN wecity.limits l ON l.role = a.usename
      WHERE a.datid IN (
        SELECT database FROM (
          SELECT get_byte(b, 0) + get_byte(b, 1) * 256::bigint + get_byte(b, 2) * 65536::bigint
            + get_byte(b, 3) * 16777216::bigint AS database
          FROM pg_ls_dir('pg_notify') f, pg_read_binary_file('pg_notify/' || f, 4, 4, true) b WHERE length(b) = 4
        ) entries
        WHERE database > 0 GROUP BY database HAVING count(*) * 262144 > {NOTIFICATIONS // 4}
      );
      IF ended > 0 THEN RAISE NOTICE 'guard: ended % sessions that filled the queue of notifications', ended; END IF;
    END IF;
    IF pg_notification_queue_usage() * {_QUEUE} > {NOTIFICATIONS_HELD} THEN
      SELECT count(pg_terminate_backend(a.pid)) INTO ended
      FROM pg_stat_activity a JOIN wecity.limits l ON l.role = a.usename
      WHERE clock_timestamp() - a.xact_start > make_interval(secs => {PERIOD});
      IF ended > 0 THEN RAISE NOTICE 'guard: ended % sessions that held the queue of notifications', ended; END IF;
    END IF;
    -- Not with a lock on the table: a Job that has the advisory lock may wait for that.
    COMMIT;
    -- Jobs hold the lock for seconds. Sessions are ended before their role is changed, which one of them may hold.
    PERFORM set_config('lock_timeout', '0', true);
    PERFORM pg_advisory_xact_lock({LOCK});
    PERFORM set_config('lock_timeout', '2s', true);
    FOR item IN
      SELECT l.*, pg_database_size(d.oid) AS size
      FROM wecity.limits l JOIN pg_database d ON d.datname = l.role JOIN pg_roles r ON r.rolname = l.role
    LOOP
      wanted := CASE
        WHEN item.size >= item.storage / 100 * {CLOSED} THEN 'closed'
        WHEN item.size >= item.storage AND item.state <> 'closed' THEN 'read-only'
        WHEN item.size >= item.storage / 100 * {OPEN} THEN item.state
        ELSE 'open' END;
      IF wanted = 'closed' OR (wanted = 'read-only' AND item.state = 'open') THEN
        PERFORM pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = item.role;
      END IF;
      CONTINUE WHEN wanted = item.state;
      BEGIN
        EXECUTE format('ALTER ROLE %I CONNECTION LIMIT %s', item.role,
          CASE wanted WHEN 'closed' THEN 0 ELSE item.connections END);
        IF wanted = 'open' THEN
          EXECUTE format('ALTER ROLE %I RESET default_transaction_read_only', item.role);
        ELSE
          EXECUTE format('ALTER ROLE %I SET default_transaction_read_only = on', item.role);
        END IF;
        UPDATE wecity.limits SET state = wanted WHERE role = item.role;
        RAISE NOTICE 'guard: database % is % with % of % bytes', item.role, wanted, item.size, item.storage;
      EXCEPTION WHEN OTHERS THEN
        RAISE NOTICE 'guard: database % is not % yet: %', item.role, wanted, SQLERRM;
      END;
    END LOOP;
    COMMIT;
    PERFORM pg_sleep({PERIOD});
  END LOOP;
END
$guard$;
"""  # noqa: S608 - what goes in are constants of these modules

# Reads PGPASSWORD from its environment. Ends when the server is gone.
SCRIPT = f"""set -eu
export PGUSER=postgres PGHOST=127.0.0.1 PGSSLMODE=disable PGCONNECT_TIMEOUT=5
until {BINARIES}/pg_isready --quiet; do sleep 1; done
exec {BINARIES}/psql --no-psqlrc --quiet --set=ON_ERROR_STOP=1 --dbname=postgres <<'SQL'
SET client_min_messages = warning;
BEGIN;
SELECT pg_advisory_xact_lock({LOCK}) \\g /dev/null
{TABLE}
COMMIT;
SET client_min_messages = notice;
{_LOOP}SQL
"""
