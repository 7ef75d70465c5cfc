"""How a database in PostgreSQL is backed up and restored: by pg_dump, and into a new database that takes its place.

What an app has put into its database is not trusted: objects are made again by a role that is a member of the app's,
and never by the administrator, who would run the app's functions.
"""

from __future__ import annotations

from stacks.platforms.application.postgresql.access import BINARIES, LOCK
from stacks.platforms.application.postgresql.deprovision import BEGIN, TABLE_WITH_TIMES
from stacks.platforms.backups import OCCUPIED, BackupScripts

# Databases and a role of a restore. No account has a name with a hyphen, and there is one restore at a time.
_NEW, _OLD, _RESTORER = "wecity-restore", "wecity-replaced", "wecity-restorer"
# Seconds that pg_dump waits for a table that its app has locked.
_LOCK_SECONDS = 300

# Not compressed: restic finds what has not changed since the last backup, and compresses itself.
_DUMP = f"""{BEGIN}
exec {BINARIES}/pg_dump --format=custom --compress=0 --lock-wait-timeout={_LOCK_SECONDS}s --dbname="dbname=$ACCOUNT"
"""

_CLEAN = f"""
SET client_min_messages = warning;
SELECT pg_advisory_lock({LOCK}) \\g /dev/null
DROP DATABASE IF EXISTS "{_NEW}" WITH (FORCE);
DROP DATABASE IF EXISTS "{_OLD}" WITH (FORCE);
DROP ROLE IF EXISTS "{_RESTORER}";
"""

# The number of objects in a database that its app, and no extension, has made.
_HELD = """
SELECT (SELECT count(*) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname !~ '^pg_' AND n.nspname <> 'information_schema' AND c.relkind IN ('r', 'p', 'v', 'm', 'S', 'f'))
  + (SELECT count(*) FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
    WHERE n.nspname !~ '^pg_' AND n.nspname <> 'information_schema')
  + (SELECT count(*) FROM pg_largeobject_metadata);
"""

# Whose account it is must be as the server has recorded it, or not be recorded. An account that is not there is made
# without a password, with the limits of none: provisioning sets both.
_PREPARE = f"""{_CLEAN}{TABLE_WITH_TIMES}
\\getenv account ACCOUNT
\\getenv owner OWNER
\\getenv password RESTORER_PASSWORD
SELECT set_config('wecity.role', :'account', false), set_config('wecity.owner', :'owner', false) \\g /dev/null
DO $owned$
DECLARE
  known text;
BEGIN
  SELECT owner INTO known FROM wecity.limits WHERE role = current_setting('wecity.role');
  IF known <> current_setting('wecity.owner') THEN
    RAISE EXCEPTION 'database % is that of %, and the backup that of %',
      current_setting('wecity.role'), known, current_setting('wecity.owner');
  END IF;
END
$owned$;
SELECT format('CREATE ROLE %I NOLOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION', :'account')
  WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = :'account') \\gexec
INSERT INTO wecity.limits (role, connections, statement_seconds, storage, stated, owner)
  VALUES (:'account', 0, 0, 9223372036854775807, false, :'owner') ON CONFLICT (role) DO NOTHING;
CREATE ROLE "{_RESTORER}" WITH LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION PASSWORD :'password';
GRANT :"account" TO "{_RESTORER}";
CREATE DATABASE "{_NEW}" OWNER :"account";
REVOKE ALL ON DATABASE "{_NEW}" FROM PUBLIC;
"""  # noqa: S608 - what goes in are constants of these modules

# Nobody gets in between the end of the sessions and the change of names, which is one transaction.
_REPLACE = f"""
SET client_min_messages = warning;
\\getenv account ACCOUNT
SELECT pg_advisory_lock({LOCK}) \\g /dev/null
SET lock_timeout = '60s';
SELECT format('ALTER DATABASE %I ALLOW_CONNECTIONS false', :'account')
  WHERE EXISTS (SELECT FROM pg_database WHERE datname = :'account') \\gexec
SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity
  WHERE datname IN (:'account', '{_NEW}') AND pid <> pg_backend_pid() \\g /dev/null
BEGIN;
SELECT format('ALTER DATABASE %I RENAME TO %I', :'account', '{_OLD}')
  WHERE EXISTS (SELECT FROM pg_database WHERE datname = :'account') \\gexec
ALTER DATABASE "{_NEW}" RENAME TO :"account";
COMMIT;
"""  # noqa: S608 - what goes in are constants of these modules

_OPEN = """
\\getenv account ACCOUNT
SELECT format('ALTER DATABASE %I ALLOW_CONNECTIONS true', :'account')
  WHERE EXISTS (SELECT FROM pg_database WHERE datname = :'account') \\gexec
"""

_RESTORE = f"""{BEGIN}
exists=$(sql --dbname=postgres --tuples-only --no-align <<'SQL'
\\getenv account ACCOUNT
SELECT datname FROM pg_database WHERE datname = :'account';
SQL
)
if [ "$REPLACE" = no ] && [ -n "$exists" ]; then
  held=$(sql --dbname="dbname=$ACCOUNT" --tuples-only --no-align <<'SQL'
{_HELD}SQL
)
  [ "$held" = 0 ] || {{ echo "database $ACCOUNT has $held objects" >&2; exit {OCCUPIED}; }}
fi
clean() {{
  sql --dbname=postgres <<'SQL'
{_CLEAN}SQL
}}
ended() {{
  code=$?
  trap - EXIT
  # Closed for the change of names, which has not come about.
  sql --dbname=postgres <<'SQL' || :
{_OPEN}SQL
  clean || :
  exit "$code"
}}
trap 'exit 143' TERM INT
trap ended EXIT
RESTORER_PASSWORD=$(cat /proc/sys/kernel/random/uuid)
export RESTORER_PASSWORD
sql --dbname=postgres <<'SQL'
{_PREPARE}SQL
PGUSER={_RESTORER} PGPASSWORD="$RESTORER_PASSWORD" PGOPTIONS="-c role=$ACCOUNT" \\
  {BINARIES}/pg_restore --no-owner --no-privileges --exit-on-error --single-transaction --dbname="dbname={_NEW}"
/bin/sh -c "$WHOLE"
sql --dbname=postgres <<'SQL'
{_REPLACE}SQL
"""  # noqa: S608 - what goes in are constants of these modules

SCRIPTS = BackupScripts(_DUMP, _RESTORE, atomic=True)
