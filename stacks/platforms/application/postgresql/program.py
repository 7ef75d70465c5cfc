"""The program of PostgreSQL: one server with its volume, configuration, probes and guard.

Provisioning Jobs (`stacks.provisioning`) create databases and roles as `access` defines. Without a binding there is no
access. The container `guard` enforces limits that the server does not, and makes it reload a renewed certificate.
"""

from __future__ import annotations

from collections.abc import Mapping

import pulumi

from stacks import pods
from stacks.base.kubernetes import priority_class
from stacks.objects import Manifest, secret_value
from stacks.platforms import tls
from stacks.platforms.application.postgresql import guard as postgresql_guard
from stacks.platforms.application.postgresql.access import BINARIES, NOBODY, QUIET, REJECTED
from stacks.platforms.component import CapabilityScope
from stacks.platforms.stateful import (
    GUARD_REQUESTS,
    guard_command,
    server_requests,
    stateful_set,
    volume_lock,
)
from stacks.platforms.store import StoreComponent
from wecityctl.model.quantity import parse_quantity

# The numeric user of the Debian package and of the upstream image.
USER = 999
DATA = "/var/lib/postgresql/data"
PGDATA = f"{DATA}/pgdata"
# Connections in addition to those of apps: for provisioning, the guard and a person.
RESERVED = 5
# Address space of a server process besides the buffers: program, libraries, tables of locks and processes.
PROGRAM_BYTES = 128 * 1024**2

# Written at every start, so that existing volumes get it too. Plain connections are accepted only from the pod itself.
ACCESS = f"""local all all scram-sha-256
host all postgres 127.0.0.1/32 scram-sha-256
host all postgres ::1/128 scram-sha-256
REMOTE all postgres all scram-sha-256
host @{REJECTED} all all reject
host all @{REJECTED} all reject
host all all 127.0.0.1/32 scram-sha-256
host all all ::1/128 scram-sha-256
REMOTE all all all scram-sha-256
"""

INITIALISE = f"""set -eu
umask 077
{volume_lock(DATA)}if [ ! -s {PGDATA}/PG_VERSION ]; then
  # A directory without PG_VERSION is what an interrupted first start leaves: nothing of value is in it.
  rm -rf {PGDATA} {PGDATA}.new
  printf '%s' "$POSTGRES_PASSWORD" > /tmp/password
  {BINARIES}/initdb --pgdata={PGDATA}.new --username=postgres --pwfile=/tmp/password \\
    --auth-local=scram-sha-256 --auth-host=scram-sha-256 --encoding=UTF8 --locale=C.UTF-8 --data-checksums
  rm -f /tmp/password
  mv {PGDATA}.new {PGDATA}
else
  rm -f {PGDATA}/postmaster.pid
  # The password follows the Secret: after a rotation, and where volumes outlived the state that knew the old one.
  printf "ALTER ROLE postgres PASSWORD '%s';\\n" "$POSTGRES_PASSWORD" |
    {BINARIES}/postgres --single -D {PGDATA} -c jit=off {QUIET} postgres > /dev/null
fi
[ -s {PGDATA}/{REJECTED} ] || echo {NOBODY} > {PGDATA}/{REJECTED}
cat > {PGDATA}/pg_hba.conf <<'END'
{ACCESS}END
"""


class PostgreSQL(StoreComponent):
    """A PostgreSQL server as a component resource."""

    def admin_values(self, password: pulumi.Output[str]) -> Mapping[str, pulumi.Input[str]]:
        return {"username": "postgres", "password": password}

    def workload(self, context: CapabilityScope, image: str, admin: str) -> Manifest:
        requests = server_requests(context)
        data: Manifest = {"name": "data", "mountPath": DATA}
        ready: Manifest = {
            "exec": {"command": [f"{BINARIES}/pg_isready", "--host=127.0.0.1", "--dbname=sslmode=disable", "--quiet"]},
            "periodSeconds": 2,
            "failureThreshold": 3,
        }
        server = pods.container(
            "postgresql",
            image,
            command=["/bin/sh", "-c", start(context)],
            ports=context.ports,
            mounts=[data, tls.MOUNT] if context.tls else [data],
            requests=requests,
            readiness=ready,
            liveness={**ready, "periodSeconds": 10, "failureThreshold": 6},
            startup={**ready, "periodSeconds": 1, "failureThreshold": 120},
        )
        guard = pods.container(
            "guard",
            image,
            command=guard_command(postgresql_guard.SCRIPT),
            env=[
                pods.from_secret("PGPASSWORD", admin, "password"),
                {"name": "PGPORT", "value": str(context.type.port)},
            ],
            requests=GUARD_REQUESTS,
        )
        initialise = pods.container(
            "initialise",
            image,
            command=["/bin/sh", "-c", INITIALISE.replace("REMOTE", "hostssl" if context.tls else "host")],
            env=[pods.from_secret("POSTGRES_PASSWORD", admin, "password")],
            mounts=[data],
            requests=requests,
        )
        spec = pods.pod(
            [server, guard],
            cluster=self.scope.inputs.cluster,
            init=[initialise],
            volumes=[
                {"name": "data", "persistentVolumeClaim": {"claimName": f"{context.capability.name}-data"}},
                *([tls.volume(context)] if context.tls else []),
            ],
            user=USER,
            priority_class=priority_class(self.scope.inputs.city.name, "platform"),
            affinity=context.affinity,
            grace_seconds=60,
        )
        content = secret_value(self.scope.inputs, context.admin_key).apply(
            lambda password: pods.content_digest({"admin": password})
        )
        labels = {**self.scope.labels, **context.selector}
        return stateful_set(context, pods.template(labels, spec, pulumi.Output.unsecret(content)))


def start(context: CapabilityScope) -> str:
    """The shell command that starts the server with its limits on memory and connections.

    Each process has a memory limit, so that a large query fails alone. Otherwise the kernel would kill the server.
    """
    memory = int(parse_quantity(server_requests(context)["memory"]))
    buffers = memory // 4
    settings = {
        "listen_addresses": "*",
        "jit": "off",
        "shared_buffers": f"{buffers // 1024}kB",
        "max_connections": context.type.connections[context.capability.size] + RESERVED,
        "superuser_reserved_connections": RESERVED,
        # Unauthenticated connections take slots away from others, so they are closed after a short time.
        "authentication_timeout": "10s",
        "tcp_keepalives_idle": "60s",
        # Statements, and the details and contexts of errors, have data and passwords of apps. An app gets its own
        # errors whole; whoever may read the pod's log must not.
        "log_min_error_statement": "panic",
        "log_error_verbosity": "terse",
    }
    if context.tls:
        settings |= {
            "ssl": "on",
            "ssl_cert_file": tls.CERTIFICATE,
            "ssl_key_file": tls.KEY,
            "ssl_min_protocol_version": "TLSv1.2",
        }
    options = " ".join(f"-c '{name}={value}'" for name, value in settings.items())
    kilobytes = (buffers + PROGRAM_BYTES + memory // 4) // 1024
    return (
        f"{volume_lock(DATA)}ulimit -v {kilobytes}; exec {BINARIES}/postgres -D {PGDATA} -k {pods.TEMPORARY} {options}"
    )
