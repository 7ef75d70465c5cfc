"""An object store as a capability: every app has a bucket and a key pair of its own, nobody else gets in.

The server keeps objects as files, what belongs to them as extended attributes, and users in a file beside them, on one
volume. The tenants' provisioning Jobs (`stacks.provisioning`) make buckets and users, as `access` says. What the server
does not bound for each bucket, the guard beside it (`guard`) does.
"""

from __future__ import annotations

from collections.abc import Mapping

import pulumi

from stacks import pods
from stacks.base.kubernetes import priority_class
from stacks.objects import Manifest, secret_value
from stacks.platforms import tls
from stacks.platforms.component import CapabilityScope
from stacks.platforms.data.object_storage import guard as storage_guard
from stacks.platforms.data.object_storage.access import ADMIN, ADMIN_PORT, REGION
from stacks.platforms.stateful import (
    GUARD_REQUESTS,
    guard_command,
    server_requests,
    stateful_set,
    volume_lock,
)
from stacks.platforms.store import StoreComponent
from wecityctl.model.quantity import parse_quantity

# The numeric user of the image.
USER = 65532
DATA = "/data"
USERS, BUCKETS = f"{DATA}/users", f"{DATA}/buckets"
# Bytes of the memory for each request that is served at a time: 1.1 MiB were measured for uploads, and 30 MiB for none.
REQUEST_BYTES = 2 * 1024**2
# A guard that adds up a directory with many files holds their names.
GUARD_LIMITS = {"memory": "128Mi"}

# The server reads its certificate again on SIGHUP, and is the process that this shell becomes.
_WATCH = f"""(
  loaded=$(cksum < {tls.CERTIFICATE})
  while sleep 10 && kill -0 $$; do
    found=$(cksum < {tls.CERTIFICATE}) || continue
    [ "$found" != "$loaded" ] || continue
    echo "the server takes over its renewed certificate" >&2
    kill -HUP $$
    loaded=$found
  done
) &
"""


class ObjectStorage(StoreComponent):
    """An object store."""

    def admin_values(self, password: pulumi.Output[str]) -> Mapping[str, pulumi.Input[str]]:
        return {"username": ADMIN, "password": password}

    def workload(self, context: CapabilityScope, image: str, admin: str) -> Manifest:
        requests = server_requests(context)
        data: Manifest = {"name": "data", "mountPath": DATA}
        scheme = "https" if context.tls else "http"
        ready: Manifest = {
            "httpGet": {"path": "/health", "port": "s3", "scheme": scheme.upper()},
            "periodSeconds": 2,
            "timeoutSeconds": 5,
        }
        memory = int(parse_quantity(requests["memory"]))
        server = pods.container(
            "object-storage",
            image,
            command=["/bin/sh", "-c", start(context)],
            env=[
                pods.from_secret("ROOT_ACCESS_KEY", admin, "username"),
                pods.from_secret("ROOT_SECRET_KEY", admin, "password"),
                {"name": "GOMEMLIMIT", "value": str(memory * 3 // 4)},
            ],
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
            command=guard_command(storage_guard.script(BUCKETS)),
            env=[
                pods.from_secret("ADMIN_PASSWORD", admin, "password"),
                {"name": "SERVER", "value": f"{scheme}://127.0.0.1:{context.type.port}"},
            ],
            mounts=[{**data, "readOnly": True}],
            requests=GUARD_REQUESTS,
            limits=GUARD_LIMITS,
        )
        spec = pods.pod(
            [server, guard],
            cluster=self.scope.inputs.cluster,
            volumes=[
                {"name": "data", "persistentVolumeClaim": {"claimName": f"{context.capability.name}-data"}},
                *([tls.volume(context)] if context.tls else []),
            ],
            user=USER,
            priority_class=priority_class(self.scope.inputs.city.name, "platform"),
            affinity=context.affinity,
        )
        content = secret_value(self.scope.inputs, context.admin_key).apply(
            lambda password: pods.content_digest({"admin": password})
        )
        labels = {**self.scope.labels, **context.selector}
        return stateful_set(context, pods.template(labels, spec, pulumi.Output.unsecret(content)))


def start(context: CapabilityScope) -> str:
    """The shell command that becomes the server, with what it serves at a time for all its users together."""
    requests = int(parse_quantity(server_requests(context)["memory"])) // REQUEST_BYTES
    # The program is in `image/go`. It keeps no connection alive: the gateway does not read the body of a request that
    # it refuses, and would take the rest for the connection's next request. A refused request may end before its answer
    # has arrived.
    options = [
        f"--port :{context.type.port}",
        f"--admin-port :{ADMIN_PORT}",
        f"--region {REGION}",
        "--health /health",
        f"--max-requests {requests}",
        f"--max-connections {requests * 4}",
        f"--iam-dir {USERS}",
    ]
    if context.tls:
        options.append(f"--cert {tls.CERTIFICATE} --key {tls.KEY}")
    return (
        f"set -eu\numask 077\n{volume_lock(DATA)}mkdir -p {USERS} {BUCKETS}\n{_WATCH if context.tls else ''}"
        f"exec object-storage {' '.join(options)} {BUCKETS}"
    )
