"""The program of PostgreSQL: one server with its volume, configuration, probes and guard, or several members.

Provisioning Jobs (`stacks.provisioning`) create databases and roles as `access` defines. Without a binding there is no
access. The container `guard` enforces limits that the server does not, and makes it reload a renewed certificate.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import pulumi

from stacks import pods
from stacks.base.kubernetes import priority_class
from stacks.objects import Manifest, secret_value
from stacks.platforms import tls
from stacks.platforms.application.postgresql import guard as postgresql_guard
from stacks.platforms.application.postgresql import members
from stacks.platforms.application.postgresql.access import BINARIES, NOBODY, QUIET, REJECTED
from stacks.platforms.application.postgresql.server import ACCESS, DATA, PGDATA, USER, server
from stacks.platforms.component import CapabilityScope
from stacks.platforms.stateful import (
    GUARD_REQUESTS,
    guard_command,
    server_requests,
    stateful_set,
    volume_lock,
)
from stacks.platforms.store import StoreComponent
from wecityctl.model import naming
from wecityctl.model.members import count_of

# Written at every start, so that existing volumes get the access rules too.
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
    """A PostgreSQL server, or several members, as a component resource."""

    def admin_values(self, password: pulumi.Output[str]) -> Mapping[str, pulumi.Input[str]]:
        return {"username": "postgres", "password": password}

    def configuration(self, context: CapabilityScope) -> Sequence[Manifest]:
        if not context.capability.has_members:
            return ()
        password = secret_value(self.scope.inputs, naming.instance_key(context.capability.name, members.PASSWORD))
        return [members.secret(context, password), *members.objects(context)]

    def notes(self, context: CapabilityScope) -> Sequence[Manifest]:
        return members.notes(context) if context.capability.has_members else ()

    def workloads(self, context: CapabilityScope, image: str, admin: str) -> Sequence[Manifest]:
        if not context.capability.has_members:
            return super().workloads(context, image, admin)
        own, content = self.scope.inputs.images[members.image(context)], self.digest(context)
        context = replace(context, scope=self.scope)
        return [
            members.stateful_set(context, own, admin, index, content) for index in range(count_of(context.capability))
        ]

    def workload(self, context: CapabilityScope, image: str, admin: str) -> Manifest:
        requests = server_requests(context)
        data: Manifest = {"name": "data", "mountPath": DATA}
        ready: Manifest = {
            "exec": {"command": [f"{BINARIES}/pg_isready", "--host=127.0.0.1", "--dbname=sslmode=disable", "--quiet"]},
            "periodSeconds": 2,
            "failureThreshold": 3,
        }
        main = pods.container(
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
            [main, guard],
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
        labels = {**self.scope.labels, **context.selector}
        return stateful_set(context, pods.template(labels, spec, self.digest(context)))

    def digest(self, context: CapabilityScope) -> pulumi.Output[str]:
        """A digest of the administrator's password, with which servers start again."""
        content = secret_value(self.scope.inputs, context.admin_key).apply(
            lambda password: pods.content_digest({"admin": password})
        )
        return pulumi.Output.unsecret(content)


def start(context: CapabilityScope) -> str:
    """The shell command that starts the server with its settings and limits."""
    found = server(context)
    options = " ".join(f"-c '{name}={value}'" for name, value in found.settings.items())
    return (
        f"{volume_lock(DATA)}ulimit -v {found.kilobytes}; "
        f"exec {BINARIES}/postgres -D {PGDATA} -k {pods.TEMPORARY} {options}"
    )
