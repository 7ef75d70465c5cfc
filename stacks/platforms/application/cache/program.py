"""The program of the cache: server, configuration, probes and guard.

Each app has its own user and key prefix; unauthenticated access is impossible. Users are stored in an access list file
on the volume, so that they survive a restart. Provisioning Jobs (`stacks.provisioning`) create them with the
permissions of `access`. The container `guard` enforces limits per user.
"""

from __future__ import annotations

import pulumi

from stacks import pods
from stacks.base.kubernetes import priority_class
from stacks.objects import Manifest, secret_value
from stacks.passwords import sha256
from stacks.platforms import tls
from stacks.platforms.application.cache import guard as cache_guard
from stacks.platforms.application.cache.access import LIMITS_KEY, TLS_OPTIONS, permissions
from stacks.platforms.component import CapabilityComponent, CapabilityScope
from stacks.platforms.stateful import (
    GUARD_REQUESTS,
    guard_command,
    provisioning_policies,
    server_requests,
    stateful_set,
    volume_claim,
    volume_lock,
)
from stacks.stack_references import base_outputs
from wecityctl.model.outputs import Endpoint
from wecityctl.model.quantity import parse_quantity

# The numeric user of the upstream image and of our own.
USER = 999
DATA = "/data"
CONFIGURATION = "/etc/cache"

# The lines of the administrator and the probe are rewritten at every start. Those of apps, written by provisioning, are
# kept. Lines from before apps had limits get the current permissions at once, before the app's own Job runs.
PREPARE = rf"""set -eu
umask 077
{volume_lock(DATA)}touch {DATA}/users.acl
{{
  echo "user default off resetkeys resetchannels -@all"
  echo "user admin on #$ADMIN_SHA256 ~* &* +@all"
  echo "user probe on #$PROBE_SHA256 resetkeys resetchannels -@all +ping"
  sed -e '/^user default /d' -e '/^user admin /d' -e '/^user probe /d' \
    -e '/%R~{LIMITS_KEY.replace(".", "[.]")}:/!s/ [-+]@.*$/ {permissions(scripting=False)}/' {DATA}/users.acl
}} > {DATA}/users.acl.new
mv {DATA}/users.acl.new {DATA}/users.acl
"""

START = f"{volume_lock(DATA)}exec valkey-server {CONFIGURATION}/cache.conf"

# A server that is busy computing or has no memory left answers late or with an error.
PROBE = (
    'REDISCLI_AUTH="$PROBE_PASSWORD" valkey-cli --no-auth-warning $TLS --user probe -p "$PORT" PING | grep -q "^PONG"'
)


class Cache(CapabilityComponent):
    """A cache server as a component resource."""

    def build(self, context: CapabilityScope) -> Endpoint:
        inputs = self.scope.inputs
        name, namespace = context.capability.name, context.namespace
        image = inputs.images["cache"]
        admin = f"{name}-admin"
        password = secret_value(inputs, context.admin_key)
        credentials = self.scope.add(
            pods.secret(
                namespace,
                admin,
                {
                    "password": password,
                    "sha256": password.apply(sha256),
                    "probe": password.apply(probe_password),
                    "probe-sha256": password.apply(lambda text: sha256(probe_password(text))),
                },
            )
        )
        configuration = self.scope.add(
            pods.config_map(namespace, f"{name}-configuration", {"cache.conf": settings(context)})
        )
        base = base_outputs(inputs)
        claim = self.scope.add(
            volume_claim(namespace, f"{name}-data", context.storage, base.storage_class if base else ""),
            protect=True,
            retain=True,
        )
        self.scope.add_all(provisioning_policies(context))
        certificate = self.scope.add_all([tls.secret(context)] if context.tls else [])
        ready = self.scope.after(credentials, configuration, claim, *certificate)
        ready.add(self._workload(context, image, admin))
        self.scope.add(context.service(name))
        return context.endpoint(service=name, admin_secret=admin, image=image)

    def _workload(self, context: CapabilityScope, image: str, admin: str) -> Manifest:
        requests = server_requests(context)
        data = {"name": "data", "mountPath": DATA}
        own: list[Manifest] = [tls.MOUNT] if context.tls else []
        where = {"PORT": str(context.type.port), **({"TLS": TLS_OPTIONS} if context.tls else {})}
        reaching = [{"name": key, "value": value} for key, value in where.items()]
        answers: Manifest = {"exec": {"command": ["/bin/sh", "-c", PROBE]}, "timeoutSeconds": 5}
        server = pods.container(
            "cache",
            image,
            command=["/bin/sh", "-c", START],
            env=[pods.from_secret("PROBE_PASSWORD", admin, "probe"), *reaching],
            ports=context.ports,
            mounts=[data, {"name": "configuration", "mountPath": CONFIGURATION, "readOnly": True}, *own],
            requests=requests,
            readiness={**answers, "periodSeconds": 2},
            # One user can block the server for others for at most a minute.
            liveness={**answers, "periodSeconds": 10, "failureThreshold": 6},
        )
        guard = pods.container(
            "guard",
            image,
            command=guard_command(cache_guard.script(maxmemory(context))),
            env=[
                pods.from_secret("ADMIN_PASSWORD", admin, "password"),
                *reaching,
                {"name": "ACCOUNT", "value": cache_guard.ACCOUNT},
                {"name": "TAKE", "value": cache_guard.TAKE},
            ],
            mounts=own,
            requests=GUARD_REQUESTS,
        )
        prepare = pods.container(
            "prepare",
            image,
            command=["/bin/sh", "-c", PREPARE],
            env=[
                pods.from_secret("ADMIN_SHA256", admin, "sha256"),
                pods.from_secret("PROBE_SHA256", admin, "probe-sha256"),
            ],
            mounts=[data],
            requests=requests,
        )
        name = context.capability.name
        spec = pods.pod(
            [server, guard],
            cluster=self.scope.inputs.cluster,
            init=[prepare],
            volumes=[
                {"name": "data", "persistentVolumeClaim": {"claimName": f"{name}-data"}},
                {"name": "configuration", "configMap": {"name": f"{name}-configuration"}},
                *([tls.volume(context)] if context.tls else []),
            ],
            user=USER,
            priority_class=priority_class(self.scope.inputs.city.name, "platform"),
            affinity=context.affinity,
        )
        content = secret_value(self.scope.inputs, context.admin_key).apply(
            lambda password: pods.content_digest({"conf": settings(context), "admin": sha256(password)})
        )
        labels = {**self.scope.labels, **context.selector}
        return stateful_set(context, pods.template(labels, spec, pulumi.Output.unsecret(content)))


def maxmemory(context: CapabilityScope) -> int:
    """The bytes for the server's data and client buffers; the rest of the container's memory is for snapshots."""
    return int(parse_quantity(server_requests(context)["memory"]) * 3 / 4)


def settings(context: CapabilityScope) -> str:
    """The server's configuration: bounded memory, snapshots, users from the access list file."""
    memory = maxmemory(context)
    # Limits for one value, one request, and the unread replies of one client.
    value, request, answers = (max(memory // part, 1024**2) for part in (16, 8, 8))
    return "\n".join(
        (
            "bind * -::*",
            *(_tls_settings(context) if context.tls else (f"port {context.type.port}",)),
            f"dir {DATA}",
            f"aclfile {DATA}/users.acl",
            # The default user is disabled, so everybody needs a password. Images differ in this default.
            "protected-mode no",
            f"maxmemory {memory}",
            # Under memory pressure, frequently read values are kept in favour of values that are written once.
            "maxmemory-policy allkeys-lfu",
            f"proto-max-bulk-len {value}",
            f"client-query-buffer-limit {request}",
            f"client-output-buffer-limit normal {answers} {answers // 2} 10",
            f"client-output-buffer-limit pubsub {answers} {answers // 2} 10",
            # The limit for all client buffers together; the client with the largest is disconnected first.
            "maxmemory-clients 25%",
            "tcp-keepalive 60",
            "save 300 1",
            "appendonly no",
            "",
        )
    )


def _tls_settings(context: CapabilityScope) -> tuple[str, ...]:
    return (
        "port 0",
        f"tls-port {context.type.port}",
        f"tls-cert-file {tls.CERTIFICATE}",
        f"tls-key-file {tls.KEY}",
        "tls-auth-clients no",
        'tls-protocols "TLSv1.2 TLSv1.3"',
    )


def probe_password(password: str) -> str:
    """The password of the user for health checks, derived from the administrator's password."""
    return sha256(f"probe:{password}")
