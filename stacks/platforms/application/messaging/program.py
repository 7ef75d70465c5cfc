"""Messaging as a capability: one NATS server with JetStream on a volume, and an account in it for each use.

The server is a library of the image's program (`image/go`), which keeps the accounts and holds their limits. The
tenants' provisioning Jobs (`stacks.provisioning`) make accounts on the administrator's port.
"""

from __future__ import annotations

from collections.abc import Mapping

import pulumi

from stacks import pods
from stacks.base.kubernetes import priority_class
from stacks.objects import Manifest, secret_value
from stacks.passwords import sha256
from stacks.platforms import tls
from stacks.platforms.application.messaging.access import ADMIN_PORT
from stacks.platforms.component import CapabilityScope
from stacks.platforms.stateful import stateful_set, volume_lock
from stacks.platforms.store import StoreComponent
from wecityctl.model.quantity import parse_quantity

# The numeric user of the image.
USER = 65532
DATA = "/data"
# The share of the memory that the limits of all accounts come to at the most, in percent: the server itself needs some
# for each connection, and for the files of streams that are in use.
MEMORY_SHARE = 25
# Bytes of the memory for each subject that the streams of one account may have: 430 were measured, and there are other
# accounts.
SUBJECT_BYTES = 16 * 1024
# Connections beside those of apps: of probes, and of clients that have not signed in yet.
RESERVED = 64


class Messaging(StoreComponent):
    """A NATS server."""

    def admin_values(self, password: pulumi.Output[str]) -> Mapping[str, pulumi.Input[str]]:
        return {"password": password}

    def workload(self, context: CapabilityScope, image: str, admin: str) -> Manifest:
        ready: Manifest = {
            "httpGet": {"path": "/health", "port": "admin", "scheme": "HTTPS" if context.tls else "HTTP"},
            "periodSeconds": 2,
            "timeoutSeconds": 5,
        }
        requests = context.resources()
        server = pods.container(
            "messaging",
            image,
            command=["/bin/sh", "-c", start(context)],
            env=[
                pods.from_secret("ADMIN_PASSWORD", admin, "password"),
                {"name": "GOMEMLIMIT", "value": str(int(parse_quantity(requests["memory"])) * 9 // 10)},
            ],
            ports=context.ports,
            mounts=[{"name": "data", "mountPath": DATA}, *([tls.MOUNT] if context.tls else [])],
            requests=requests,
            readiness=ready,
            liveness={**ready, "periodSeconds": 10, "failureThreshold": 6},
            # It reads its streams before it answers.
            startup={**ready, "periodSeconds": 1, "failureThreshold": 300},
        )
        spec = pods.pod(
            [server],
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
            lambda password: pods.content_digest({"admin": sha256(password)})
        )
        labels = {**self.scope.labels, **context.selector}
        return stateful_set(context, pods.template(labels, spec, pulumi.Output.unsecret(content)))


def start(context: CapabilityScope) -> str:
    """The shell command that becomes the server, with what its accounts have together."""
    memory = int(parse_quantity(context.resources()["memory"]))
    options = [
        f"-listen :{context.type.port}",
        f"-admin :{ADMIN_PORT}",
        f"-data {DATA}",
        f"-connections {context.type.connections[context.capability.size] + RESERVED}",
        f"-storage {int(parse_quantity(context.storage))}",
        f"-memory {memory * MEMORY_SHARE // 100}",
        f"-subjects {memory // SUBJECT_BYTES}",
    ]
    if context.tls:
        options.append(f"-certificate {tls.CERTIFICATE} -key {tls.KEY}")
    return f"set -eu\numask 077\n{volume_lock(DATA)}exec messaging serve {' '.join(options)}"
