"""The registry's objects on a cluster: one server with a volume, and accounts in a file for each.

The server is the distribution registry in a program of ours (`image/go`), which holds the rights of tenants and their
limits. It has no rights in the cluster.
"""

from __future__ import annotations

from collections.abc import Mapping

import pulumi

from stacks import pods
from stacks.base.kubernetes import priority_class
from stacks.objects import Manifest, secret_value
from stacks.passwords import sha256
from stacks.platforms import tls
from stacks.platforms.component import CapabilityScope
from stacks.platforms.operations.registry.access import ADMIN, ADMIN_PORT, NODE
from stacks.platforms.stateful import stateful_set, volume_lock
from stacks.platforms.store import StoreComponent
from wecityctl.model.quantity import parse_quantity

# The numeric user of the image.
USER = 65532
DATA = "/data"


class Registry(StoreComponent):
    """A registry of images."""

    def admin_values(self, password: pulumi.Output[str]) -> Mapping[str, pulumi.Input[str]]:
        return {"username": ADMIN, "password": password, NODE: password.apply(node_password)}

    def workload(self, context: CapabilityScope, image: str, admin: str) -> Manifest:
        ready: Manifest = {
            "httpGet": {"path": "/health", "port": "registry", "scheme": "HTTPS" if context.tls else "HTTP"},
            "periodSeconds": 2,
            "timeoutSeconds": 5,
        }
        requests = context.resources()
        server = pods.container(
            "registry",
            image,
            command=["/bin/sh", "-c", start(context)],
            env=[
                pods.from_secret("ADMIN_PASSWORD", admin, "password"),
                pods.from_secret("NODE_PASSWORD", admin, NODE),
                {"name": "GOMEMLIMIT", "value": str(int(parse_quantity(requests["memory"])) * 9 // 10)},
            ],
            ports=context.ports,
            mounts=[{"name": "data", "mountPath": DATA}, *([tls.MOUNT] if context.tls else [])],
            requests=requests,
            readiness=ready,
            liveness={**ready, "periodSeconds": 10, "failureThreshold": 6},
            startup={**ready, "periodSeconds": 1, "failureThreshold": 120},
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
    """The shell command that becomes the server."""
    options = f"-listen :{context.type.port} -admin :{ADMIN_PORT} -data {DATA}"
    if context.tls:
        options += f" -certificate {tls.CERTIFICATE} -key {tls.KEY}"
    return f"set -eu\numask 077\n{volume_lock(DATA)}exec registry {options}"


def node_password(password: str) -> str:
    """The password with which nodes pull the city's own images, derived from the administrator's password."""
    return sha256(f"node:{password}")
