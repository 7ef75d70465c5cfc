"""What becomes of a database and role in PostgreSQL whose use has ended: locked, listed with size and age, dropped.

The scripts run as the administrator in a Job, with ACCOUNTS (a line for each: the role, and whose it is); what psql
itself reads says how it knows the server. An account is touched only where the server has recorded that very owner.
"""

from __future__ import annotations

from stacks.platforms.application.postgresql.access import BINARIES, LOCK, TABLE, reject

_OPTIONS = " ".join(
    f"-c {setting}"
    for setting in (
        "role=none",
        "search_path=pg_catalog",
        "local_preload_libraries=",
        "default_transaction_read_only=off",
        "default_transaction_isolation=read\\ committed",
        "statement_timeout=0",
        "lock_timeout=0",
        "idle_session_timeout=0",
        "idle_in_transaction_session_timeout=0",
    )
)

BEGIN = f"""set -eu
export PGPASSWORD="$ADMIN_PASSWORD" PGUSER=postgres PGHOST="$HOST" PGPORT="$PORT" PGCONNECT_TIMEOUT=5
# What an app may have set for all sessions in its database, so that what runs there does not, or not as administrator.
export PGOPTIONS='{_OPTIONS}'
tries=0
until {BINARIES}/pg_isready --dbname=sslmode=prefer --quiet; do
  tries=$((tries + 1)); [ "$tries" -lt 60 ] || exit 1; sleep 1
done
sql() {{ {BINARIES}/psql --no-psqlrc --quiet --set=ON_ERROR_STOP=1 "$@"; }}
"""

# Not a part of `TABLE`: the guard's pod has that in its template, and a server is not restarted for a column.
TABLE_WITH_TIMES = f"""
SET client_min_messages = warning;
SELECT pg_advisory_lock({LOCK}) \\g /dev/null
SET lock_timeout = '5s';
{TABLE}
ALTER TABLE wecity.limits ADD COLUMN IF NOT EXISTS left_at timestamptz;
"""

_LISTED = r"""
\getenv accounts ACCOUNTS
CREATE TEMPORARY TABLE listed AS
  SELECT l.role
  FROM regexp_split_to_table(:'accounts', E'\n') line JOIN wecity.limits l ON l.role = split_part(line, ' ', 1)
  WHERE coalesce(l.owner, split_part(line, ' ', 2)) = split_part(line, ' ', 2);
"""

# Seconds for one lock to be had, and for all of it.
_PATIENCE, _LIMIT = 0.5, 60

# Roles that can hold what the lock changes in a transaction of theirs: those listed, owners of their databases and who
# may grant rights on these, and members of all of these.
_INVOLVED = """
    SELECT r.rolname FROM pg_roles r
    WHERE NOT r.rolsuper AND EXISTS (
      SELECT FROM listed l LEFT JOIN pg_database d ON d.datname = l.role JOIN pg_roles h ON h.rolname = l.role
        OR h.oid = d.datdba OR h.oid IN (SELECT a.grantee FROM aclexplode(d.datacl) a WHERE a.is_grantable)
      WHERE pg_has_role(r.oid, h.oid, 'MEMBER'))
"""

# Ends the sessions of `involved` roles and in the listed databases.
_END = """
    PERFORM pg_terminate_backend(pid, 5000) FROM pg_stat_activity
    WHERE usename <> current_user AND (usename = ANY (involved) OR datname IN (SELECT role FROM listed));
"""

# An app that gets in again holds its role, or its database, by transactions without end. So new connections are
# rejected first, by a file that nobody can hold, and sessions are ended until all is changed: the role, who is a member
# of it, and who may use the database. Others that are involved are let in again then. The last rounds end sessions that
# were let in before and are seen only later. `left_at` is the time of the first lock, not of its repetition.
_LOCK = rf"""{TABLE_WITH_TIMES}{_LISTED}
DO $lock$
DECLARE
  item record;
  change text;
  involved name[];
  waiting text;
  latest timestamptz := clock_timestamp() + interval '{_LIMIT}s';
BEGIN
  UPDATE wecity.limits l SET left_at = now()
    FROM listed, pg_roles r WHERE l.role = listed.role AND r.rolname = l.role AND r.rolcanlogin;
  LOOP
    involved := ARRAY({_INVOLVED});
    {reject("SELECT unnest(involved)")}
    {_END}
    waiting := NULL;
    PERFORM set_config('lock_timeout', '{_PATIENCE}s', true);
    FOR item IN SELECT r.oid, l.role, d.oid AS database FROM listed l JOIN pg_roles r ON r.rolname = l.role
      LEFT JOIN pg_database d ON d.datname = l.role
    LOOP
      BEGIN
        EXECUTE format('ALTER ROLE %I WITH NOLOGIN PASSWORD NULL', item.role);
        FOR change IN
          SELECT format('REVOKE %I FROM %I', item.role, r.rolname)
          FROM pg_auth_members m JOIN pg_roles r ON r.oid = m.member WHERE m.roleid = item.oid
        LOOP
          EXECUTE change;
        END LOOP;
        CONTINUE WHEN item.database IS NULL;
        IF (SELECT datdba <> item.oid FROM pg_database WHERE oid = item.database) THEN
          EXECUTE format('ALTER DATABASE %I OWNER TO %I', item.role, item.role);
        END IF;
        EXECUTE format('REVOKE ALL ON DATABASE %I FROM PUBLIC CASCADE', item.role);
        FOR change IN
          SELECT DISTINCT format('REVOKE ALL ON DATABASE %I FROM %I CASCADE', item.role, r.rolname)
          FROM pg_database d, aclexplode(d.datacl) a JOIN pg_roles r ON r.oid = a.grantee
          WHERE d.oid = item.database AND a.grantee <> d.datdba
        LOOP
          EXECUTE change;
        END LOOP;
      EXCEPTION WHEN OTHERS THEN
        waiting := format('%s: %s', item.role, SQLERRM);
      END;
    END LOOP;
    COMMIT;
    EXIT WHEN waiting IS NULL OR clock_timestamp() > latest;
  END LOOP;
  FOR round IN 1..3 LOOP
    {_END}
    COMMIT;
    PERFORM pg_sleep(0.2);
  END LOOP;
  {reject("SELECT role FROM listed")}
  IF waiting IS NOT NULL THEN
    RAISE EXCEPTION 'not locked, but rejected: %', waiting;
  END IF;
END
$lock$;
"""  # noqa: S608 - what goes in are constants of these modules

DEPROVISION = f"""{BEGIN}sql --dbname=postgres <<'SQL'
{_LOCK}SQL
"""

# A role cannot be dropped while other databases have something of it, which their apps may have granted. The record
# goes last: what was killed in between is listed, and dropped by the next try.
DELETE = f"""{BEGIN}roles=$(sql --dbname=postgres --tuples-only --no-align <<'SQL'
{_LOCK}SELECT role FROM listed ORDER BY role;
SQL
)
for role in $roles; do
  sql --dbname=postgres --set=role="$role" <<'SQL'
SET client_min_messages = warning;
SELECT format('ALTER DATABASE %I IS_TEMPLATE false', datname) FROM pg_database WHERE datname = :'role' AND datistemplate
\\gexec
DROP DATABASE IF EXISTS :"role" WITH (FORCE);
SQL
  sql --dbname=postgres --tuples-only --no-align --set=role="$role" > /tmp/databases <<'SQL'
SELECT DISTINCT coalesce(d.datname, 'postgres')
FROM pg_shdepend s LEFT JOIN pg_database d ON d.oid = s.dbid
WHERE s.refclassid = 'pg_authid'::regclass AND s.refobjid = (SELECT oid FROM pg_roles WHERE rolname = :'role');
SQL
  while IFS= read -r database; do
    # Whose database it is may have closed it for everybody.
    closed=$(sql --dbname=postgres --tuples-only --no-align --set=database="$database" <<'SQL'
SELECT 'closed' FROM pg_database WHERE datname = :'database' AND NOT datallowconn;
SQL
)
    [ -z "$closed" ] || echo 'ALTER DATABASE :"database" ALLOW_CONNECTIONS true;' |
      sql --dbname=postgres --set=database="$database"
    echo 'DROP OWNED BY :"role" CASCADE;' | sql --dbname="$database" --set=role="$role" && done=yes || done=no
    [ -z "$closed" ] || echo 'ALTER DATABASE :"database" ALLOW_CONNECTIONS false;' |
      sql --dbname=postgres --set=database="$database"
    [ "$done" = yes ] || exit 1
  done < /tmp/databases
  sql --dbname=postgres --set=role="$role" <<'SQL'
SET client_min_messages = warning;
DROP ROLE IF EXISTS :"role";
DELETE FROM wecity.limits WHERE role = :'role';
SQL
done
"""  # noqa: S608

# Prints what `stacks.platforms.provisioner` says.
INVENTORY = f"""{BEGIN}sql --dbname=postgres --tuples-only --no-align <<'SQL'
{TABLE_WITH_TIMES}
SELECT concat_ws(' ', 'account', l.role, coalesce(l.owner, '-'), coalesce(pg_database_size(d.oid), 0),
  CASE WHEN r.rolcanlogin THEN 'open' ELSE 'locked' END,
  CASE WHEN r.rolcanlogin THEN '-' ELSE coalesce(extract(epoch FROM l.left_at)::bigint::text, '-') END)
FROM wecity.limits l LEFT JOIN pg_roles r ON r.rolname = l.role LEFT JOIN pg_database d ON d.datname = l.role
ORDER BY l.role;
SQL
"""  # noqa: S608
