"""Creates an app's database and role in a PostgreSQL server, with limits.

The server enforces the number of connections of a role and the temporary files of each session. Limits that a session
could change are set as session defaults, so that apps get meaningful errors; the guard (`guard`) enforces them. The
limits are stored in a table of a database to which apps cannot connect.
"""

from __future__ import annotations

# Where the Debian package and the upstream image have the programs.
BINARIES = "/usr/lib/postgresql/15/bin"

# Seconds that a transaction may wait for its app, and that a session may be idle.
IDLE_IN_TRANSACTION, IDLE_SESSION = 300, 3600
TEMPORARY_FILES_OF_A_SESSION = "512MB"

# The advisory lock for changes to roles and the limits table: provisioning Jobs run concurrently with the guard.
LOCK = 1907005

TABLE = """
CREATE SCHEMA IF NOT EXISTS wecity;
REVOKE ALL ON SCHEMA wecity FROM PUBLIC;
CREATE TABLE IF NOT EXISTS wecity.limits (
  role name PRIMARY KEY,
  connections integer NOT NULL,
  statement_seconds integer NOT NULL,
  storage bigint NOT NULL,
  stated boolean NOT NULL,
  state text NOT NULL DEFAULT 'open'
);
ALTER TABLE wecity.limits ADD COLUMN IF NOT EXISTS owner text;
"""

# A file in the data directory with the roles and databases that `pg_hba.conf` closes for all but the administrator.
# Unlike a row of a catalogue, no app can hold it with an open transaction. It is never empty, as an empty one would
# make `pg_hba.conf` invalid; no account has a name with a hyphen.
REJECTED = "wecity-rejected"
NOBODY = "wecity-nobody"


_LOCKED = "SELECT l.role FROM wecity.limits l JOIN pg_roles r ON r.rolname = l.role WHERE NOT r.rolcanlogin"


def reject(more: str = "") -> str:
    """PL/pgSQL statements that write `REJECTED`: locked roles, and those of the query `more`; then reload it."""
    names = f"{_LOCKED} UNION {more}" if more else _LOCKED
    return f"""
  EXECUTE format('COPY (SELECT unnest(%L::text[])) TO %L',
    ARRAY['{NOBODY}'] || ARRAY(SELECT '"' || name || '"' FROM ({names}) names (name)),
    current_setting('data_directory') || '/{REJECTED}');
  PERFORM pg_reload_conf();
"""  # noqa: S608 - what goes in are constants of these modules


# Database names derive from tenant, app and binding, so different apps may get the same name over time. The recorded
# owner prevents handing one app's data to another. Databases without a record belong to their current app.
_OWNED = """
SELECT set_config('wecity.role', :'role', false), set_config('wecity.owner', :'owner', false);
DO $owned$
DECLARE
  known text;
BEGIN
  SELECT owner INTO known FROM wecity.limits WHERE role = current_setting('wecity.role');
  IF known <> current_setting('wecity.owner') THEN
    RAISE EXCEPTION 'database % holds what % has left: give the binding of % another name, or drop the database first',
      current_setting('wecity.role'), known, current_setting('wecity.owner');
  END IF;
END
$owned$;
"""

# Sent with the connection, as statements that fail are logged with their text by default.
QUIET = "-c log_min_error_statement=panic -c log_statement=none -c log_min_duration_statement=-1"

# psql reads the verifier from its environment (`getenv`), so that it is on no command line. The server never sees the
# password: it logs statements that fail, and who reads its log must not learn it.
_SQL = rf"""
\getenv role APP_ROLE
\getenv verifier APP_PASSWORD_SCRAM
\getenv connections CONNECTIONS
\getenv statement_seconds STATEMENT_SECONDS
\getenv storage STORAGE
\getenv stated STORAGE_STATED
\getenv owner OWNER
\set statement_timeout :statement_seconds s
SELECT pg_advisory_lock({LOCK});
-- A role may change itself in a transaction that it leaves open: then this Job fails, and no other waits for it.
SET lock_timeout = '5s';
REVOKE CONNECT ON DATABASE postgres, template1 FROM PUBLIC;
{TABLE}{_OWNED}
SELECT format('CREATE ROLE %I', :'role') WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = :'role') \gexec
ALTER ROLE :"role" WITH LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION PASSWORD :'verifier'
  CONNECTION LIMIT :connections;
ALTER ROLE :"role" SET temp_file_limit = '{TEMPORARY_FILES_OF_A_SESSION}';
ALTER ROLE :"role" SET statement_timeout = :'statement_timeout';
ALTER ROLE :"role" SET idle_in_transaction_session_timeout = '{IDLE_IN_TRANSACTION}s';
ALTER ROLE :"role" SET idle_session_timeout = '{IDLE_SESSION}s';
ALTER ROLE :"role" RESET default_transaction_read_only;
SELECT format('CREATE DATABASE %I OWNER %I', :'role', :'role')
  WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = :'role') \gexec
REVOKE ALL ON DATABASE :"role" FROM PUBLIC;
-- What its owner may have changed of it that keeps it, or its limits, from working.
ALTER DATABASE :"role" OWNER TO :"role";
ALTER DATABASE :"role" WITH ALLOW_CONNECTIONS true CONNECTION LIMIT -1 IS_TEMPLATE false;
SELECT format(statement, :'role', setting) FROM
  unnest(ARRAY['ALTER DATABASE %1$I RESET %2$I', 'ALTER ROLE %1$I IN DATABASE %1$I RESET %2$I']) statement,
  unnest(ARRAY['default_transaction_read_only', 'statement_timeout', 'idle_in_transaction_session_timeout',
    'idle_session_timeout']) setting \gexec
-- A database that is older than limits, and whose app states none, is not closed for what it holds already.
INSERT INTO wecity.limits AS old (role, connections, statement_seconds, storage, stated, owner)
  VALUES (:'role', :connections, :statement_seconds,
    CASE :'stated' WHEN 'yes' THEN :storage ELSE greatest(:storage, pg_database_size(:'role') * 3 / 2) END,
    :'stated' = 'yes', :'owner')
  ON CONFLICT (role) DO UPDATE SET
    connections = excluded.connections,
    statement_seconds = excluded.statement_seconds,
    storage = CASE WHEN excluded.stated OR old.stated THEN excluded.storage ELSE greatest(old.storage, :storage) END,
    stated = excluded.stated,
    owner = excluded.owner,
    state = 'open';
SELECT position('"' || :'role' || '"' IN coalesce(pg_read_file('{REJECTED}', 0, 1000000, true), '')) > 0 AS rejected
\gset
\if :rejected
DO $reject$ BEGIN {reject()} END $reject$;
-- The server reads the file a moment later.
SELECT pg_sleep(0.5);
\endif
"""  # noqa: S608 - what goes in are constants of this module

# Runs as the administrator in a Job. Environment: APP_ROLE, APP_PASSWORD_SCRAM, CONNECTIONS, STATEMENT_SECONDS, STORAGE
# (bytes), STORAGE_STATED (yes, no) and OWNER (tenant, app and binding); PGSSLMODE and PGSSLROOTCERT, which psql itself
# reads, say how to verify the server.
PROVISION = f"""set -eu
export PGPASSWORD="$ADMIN_PASSWORD" PGUSER=postgres PGHOST="$HOST" PGPORT="$PORT" PGCONNECT_TIMEOUT=5
export PGOPTIONS='{QUIET}'
tries=0
# Whether somebody answers; who it is, psql checks.
until {BINARIES}/pg_isready --dbname=sslmode=prefer --quiet; do
  tries=$((tries + 1)); [ "$tries" -lt 60 ] || exit 1; sleep 1
done
{BINARIES}/psql --no-psqlrc --quiet --set=ON_ERROR_STOP=1 --dbname=postgres --output=/dev/null <<'SQL'{_SQL}SQL
"""
