"""The end-to-end probe of PostgreSQL: a row that is committed, read in another session, and removed."""

from __future__ import annotations

from stacks.platforms.application.postgresql.access import BINARIES
from stacks.platforms.probes import ABANDONED, NAMED

# The table has a name of its own for each run. One that a killed probe has left is dropped by a later one.
PROBE = f"""set -eu
{NAMED}
export PGPASSWORD="$ADMIN_PASSWORD" PGUSER=postgres PGHOST="$HOST" PGPORT="$PORT" PGCONNECT_TIMEOUT=5
export PGOPTIONS='-c default_transaction_read_only=off -c statement_timeout=10s -c lock_timeout=5s'
table=wecity_probe_${{now}}_$id
sql() {{
  {BINARIES}/psql --no-psqlrc --quiet --set=ON_ERROR_STOP=1 --set=VERBOSITY=terse --tuples-only --no-align \\
    --dbname=postgres --set=table="$table" --set=id="$id"
}}
remove() {{ echo 'SET client_min_messages = warning; DROP TABLE IF EXISTS public.:"table";' | sql; }}
trap 'exit 1' TERM INT
trap 'remove > /dev/null 2>&1' EXIT
sql <<'SQL'
CREATE TABLE public.:"table" (value text);
INSERT INTO public.:"table" VALUES (:'id');
SQL
found=$(echo 'SELECT value FROM public.:"table";' | sql)
[ "$found" = "$id" ] || {{ echo "a row that was committed is read back as '$found'" >&2; exit 1; }}
remove
sql <<'SQL'
SET client_min_messages = warning;
SELECT format('DROP TABLE IF EXISTS public.%I', tablename) FROM pg_tables
  WHERE schemaname = 'public' AND tablename ~ '^wecity_probe_[0-9]{{10}}_[0-9a-f]{{8}}$'
    AND split_part(tablename, '_', 3)::bigint < extract(epoch FROM now()) - {ABANDONED} \\gexec
SQL
trap - EXIT
echo "a row was committed, read and removed"
"""  # noqa: S608 - what goes in are constants of these modules
