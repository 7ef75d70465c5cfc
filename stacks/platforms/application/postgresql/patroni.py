"""What a member of a highly available PostgreSQL runs: Patroni, which starts the server, copies the primary's data and
takes its place when it fails.

The members agree in ConfigMaps of their namespace (`members`). Commits wait until a second member has written them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from stacks import pods
from stacks.objects import Manifest
from stacks.platforms import tls
from stacks.platforms.application.postgresql.access import BINARIES, NOBODY, QUIET, REJECTED, reject
from stacks.platforms.application.postgresql.server import ACCESS, DATA, PGDATA, server
from stacks.platforms.component import PRIMARY, CapabilityScope
from stacks.platforms.stateful import volume_lock
from wecityctl.model import members, naming
from wecityctl.model.quantity import parse_quantity

# The port on which members ask each other, by HTTPS, who is the primary and how far each one is.
PORT = 8008
# The role that copies data. No account of an app has a name with a hyphen.
REPLICATION = "wecity-replication"
# Seconds: a primary that has not renewed its lease for so long has lost it; it is renewed every `LOOP`, and a request
# to the API server is repeated for `RETRY`. One that cannot renew it makes its server read-only before it is lost.
LEASE, LOOP, RETRY = 20, 5, 5
# Seconds that a primary whose server has crashed may take to recover before another member takes its place.
RECOVERY = 15
# Bytes of memory for Patroni itself.
PROGRAM = 96 * 1024**2
# What a replica may be behind before it counts as not ready.
LAG = "256MB"

_SERVER, _PRIMARY, _CONFIGURATION = (f"{pods.TEMPORARY}/{name}" for name in ("postgres", "primary", "patroni.json"))
# Settings that all members must have the same of: Patroni takes them from the shared configuration alone.
_SHARED = ("max_connections",)


def shared_configuration(context: CapabilityScope) -> str:
    """The configuration that the members share, as JSON."""
    settings = server(context, PROGRAM).settings
    # Of the write-ahead log for a member that is away; one that needs more is copied anew.
    kept = int(parse_quantity(context.storage)) // 8
    return json.dumps(
        {
            "ttl": LEASE,
            "loop_wait": LOOP,
            "retry_timeout": RETRY,
            "primary_start_timeout": RECOVERY,
            # Not strict: without a second member the primary goes on alone, and no other can then take its place.
            "synchronous_mode": True,
            "postgresql": {
                "use_pg_rewind": True,
                "use_slots": True,
                "parameters": {
                    **{name: settings[name] for name in _SHARED},
                    "max_slot_wal_keep_size": f"{kept // 1024**2}MB",
                },
            },
        },
        sort_keys=True,
    )


def start(context: CapabilityScope) -> str:
    """The shell command that starts a member."""
    found = server(context, PROGRAM)
    configuration = json.dumps(_configuration(context, found.settings), indent=1, sort_keys=True)
    return f"""set -eu
umask 077
{volume_lock(DATA)}rm -f {PGDATA}/postmaster.pid
cat > {_SERVER} <<'END'
#!/bin/sh
if [ -s {PGDATA}/PG_VERSION ] && [ ! -s {PGDATA}/{REJECTED} ]; then echo {NOBODY} > {PGDATA}/{REJECTED}; fi
ulimit -v {found.kilobytes}
exec {BINARIES}/postgres "$@"
END
chmod 700 {_SERVER}
cat > {_PRIMARY} <<'END'
{ON_PRIMARY}END
cat > {_CONFIGURATION} <<'END'
{configuration}
END
{tls.RELOAD}exec python3 -m patroni {_CONFIGURATION}
"""


def _configuration(context: CapabilityScope, settings: Mapping[str, Any]) -> dict[str, Any]:
    labels = {key: value for key, value in context.selector.items() if key != naming.NAME_LABEL}
    # Patroni and what it runs are known by their user on the pod's own socket. Members verify each other.
    own = f"""local all postgres peer
local replication {REPLICATION} scram-sha-256
hostssl replication {REPLICATION} all scram-sha-256
hostssl all {REPLICATION} all scram-sha-256
"""
    return {
        "scope": context.capability.name,
        "restapi": {
            "listen": f"0.0.0.0:{PORT}",
            "certfile": tls.CERTIFICATE,
            "keyfile": tls.KEY,
            "cafile": tls.AUTHORITY,
        },
        "ctl": {"cacert": tls.AUTHORITY},
        "kubernetes": {
            "namespace": context.namespace,
            "labels": labels,
            "scope_label": naming.NAME_LABEL,
            "role_label": naming.ROLE_LABEL,
            "leader_label_value": PRIMARY,
        },
        "bootstrap": {
            "dcs": json.loads(shared_configuration(context)),
            "initdb": [
                {"encoding": "UTF8"},
                {"locale": "C.UTF-8"},
                {"auth-local": "peer"},
                {"auth-host": "scram-sha-256"},
                "data-checksums",
            ],
        },
        "postgresql": {
            "listen": f"*:{context.type.port}",
            "data_dir": PGDATA,
            "bin_dir": BINARIES,
            "bin_name": {"postgres": _SERVER},
            "pgpass": f"{pods.TEMPORARY}/pgpass",
            "use_unix_socket": True,
            "use_unix_socket_repl": True,
            # A former primary that cannot be brought into line is copied anew: it has no row that was acknowledged and
            # that the primary has not.
            "remove_data_directory_on_rewind_failure": True,
            "remove_data_directory_on_diverged_timelines": True,
            "basebackup": [{"checkpoint": "fast"}],
            "callbacks": dict.fromkeys(("on_start", "on_restart", "on_role_change"), f"/bin/sh {_PRIMARY}"),
            "pg_hba": [*own.splitlines(), *ACCESS.replace("REMOTE", "hostssl").splitlines()],
            "parameters": {
                **{name: value for name, value in settings.items() if name not in (*_SHARED, "listen_addresses")},
                "unix_socket_directories": pods.TEMPORARY,
                # pg_rewind looks for the last common point in what a former primary has kept.
                "wal_keep_size": "128MB",
            },
        },
    }


# Runs on a member that starts as the primary or becomes it. Passwords follow the Secrets. The file of rejected roles is
# not copied with the data, so it is written anew from what is. Nothing of it waits for another member: whoever becomes
# the primary later does it again.
ON_PRIMARY = rf"""set -eu
[ "$2" = primary ] || exit 0
export PGHOST={pods.TEMPORARY} PGUSER=postgres PGCONNECT_TIMEOUT=5
export PGOPTIONS='{QUIET} -c synchronous_commit=local'
sql() {{ {BINARIES}/psql --no-psqlrc --quiet --set=ON_ERROR_STOP=1 --set=VERBOSITY=terse --tuples-only \
  --no-align --dbname=postgres; }}
tries=0
until [ "$(echo 'SELECT pg_is_in_recovery()' | sql)" = f ]; do
  tries=$((tries + 1)); [ "$tries" -lt 60 ] || exit 1; sleep 1
done
sql > /dev/null <<'SQL'
\getenv password POSTGRES_PASSWORD
\getenv replication MEMBERS_PASSWORD
ALTER ROLE postgres PASSWORD :'password';
SELECT 'CREATE ROLE "{REPLICATION}"' WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = '{REPLICATION}') \gexec
ALTER ROLE "{REPLICATION}" WITH LOGIN REPLICATION NOSUPERUSER NOCREATEDB NOCREATEROLE PASSWORD :'replication';
-- What pg_rewind reads.
GRANT EXECUTE ON FUNCTION pg_ls_dir(text, boolean, boolean), pg_stat_file(text, boolean), pg_read_binary_file(text),
  pg_read_binary_file(text, bigint, bigint, boolean) TO "{REPLICATION}";
SELECT to_regclass('wecity.limits') IS NOT NULL AS limited \gset
\if :limited
DO $reject$ BEGIN {reject()} END $reject$;
\endif
SQL
"""  # noqa: S608 - what goes in are constants of these modules


def member(context: CapabilityScope, index: int) -> str:
    """The name of a member: that of its pod."""
    return f"{members.workload(context.capability.name, index)}-0"


def environment(context: CapabilityScope, admin: str, secret: str, index: int) -> list[Manifest]:
    """The variables of a member's server: its addresses, and passwords from the Secrets `admin` and `secret`."""
    name = member(context, index)
    host = f"{name}.{members.domain(context.capability)}"
    verified = {"SSLMODE": "verify-full", "SSLROOTCERT": tls.AUTHORITY}
    values = {
        "PATRONI_NAME": name,
        "PATRONI_POSTGRESQL_CONNECT_ADDRESS": f"{host}:{context.type.port}",
        "PATRONI_RESTAPI_CONNECT_ADDRESS": f"{host}:{PORT}",
        "PATRONI_SUPERUSER_USERNAME": "postgres",
        "PATRONI_RESTAPI_USERNAME": REPLICATION,
    }
    for role in ("REPLICATION", "REWIND"):
        values |= {f"PATRONI_{role}_USERNAME": REPLICATION}
        values |= {f"PATRONI_{role}_{name}": value for name, value in verified.items()}
    return [
        pods.from_secret("POSTGRES_PASSWORD", admin, "password"),
        # Patroni takes its own variables out of the environment of what it starts.
        pods.from_secret("MEMBERS_PASSWORD", secret, "password"),
        *(
            pods.from_secret(f"PATRONI_{role}_PASSWORD", secret, "password")
            for role in ("REPLICATION", "REWIND", "RESTAPI")
        ),
        *({"name": name, "value": value} for name, value in values.items()),
    ]
