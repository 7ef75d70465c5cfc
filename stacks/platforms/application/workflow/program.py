"""The workflow engine's objects on a cluster: one server, whose data is in the database that its use gives it.

The server is a program of ours (`image/go`) that runs Flowable's engine as its child and holds the rights of apps and
their limits. It has no volume, and no rights in the cluster.
"""

from __future__ import annotations

import pulumi

from stacks import pods
from stacks.base.kubernetes import priority_class
from stacks.objects import Manifest, secret_value
from stacks.passwords import sha256
from stacks.platforms import tls
from stacks.platforms.application.workflow.access import ADMIN, ADMIN_PORT
from stacks.platforms.component import CapabilityComponent, CapabilityScope
from stacks.platforms.stateful import provisioning_policies, stateful_set
from wecityctl.model.outputs import Endpoint
from wecityctl.model.quantity import parse_quantity
from wecityctl.model.variables import BINDING_ROOT

# The numeric user of the image.
USER = 65532
DATABASE = "db"
# What Java takes beside its heap, and the program before it.
BESIDE_HEAP = 320 * 1024**2
# Connections of the database's role that the server leaves free, for the time in which pods follow one another.
SPARE_CONNECTIONS = 4


class Workflow(CapabilityComponent):
    """A server of processes with tasks."""

    def build(self, context: CapabilityScope) -> Endpoint:
        name, namespace = context.capability.name, context.namespace
        image = self.scope.inputs.images[context.type.images[0]]
        admin = f"{name}-admin"
        password = secret_value(self.scope.inputs, context.admin_key)
        before = [self.scope.add(pods.secret(namespace, admin, {"username": ADMIN, "password": password}))]
        self.scope.add_all(provisioning_policies(context))
        before += self.scope.add_all([tls.secret(context)] if context.tls else [])
        self.scope.after(*before).add(self._workload(context, image, admin))
        self.scope.add(context.service(name))
        return context.endpoint(service=name, admin_secret=admin, image=image)

    def _workload(self, context: CapabilityScope, image: str, admin: str) -> Manifest:
        ready: Manifest = {
            "httpGet": {"path": "/health", "port": "workflow", "scheme": "HTTPS" if context.tls else "HTTP"},
            "periodSeconds": 5,
            "timeoutSeconds": 10,
        }
        server = pods.container(
            "workflow",
            image,
            command=["/bin/sh", "-c", start(context)],
            env=[pods.from_secret("ADMIN_PASSWORD", admin, "password")],
            ports=context.ports,
            mounts=[*context.binding_mounts, *([tls.MOUNT] if context.tls else [])],
            requests=context.resources(),
            readiness=ready,
            # A restart would not bring back a database that is away.
            liveness={
                **ready,
                "httpGet": {**ready["httpGet"], "path": "/live"},
                "periodSeconds": 10,
                "failureThreshold": 6,
            },
            # The first start makes the database's tables: some twenty seconds, and minutes on a busy machine.
            startup={**ready, "failureThreshold": 120},
        )
        spec = pods.pod(
            [server],
            cluster=self.scope.inputs.cluster,
            volumes=[*context.binding_volumes, *([tls.volume(context)] if context.tls else [])],
            user=USER,
            priority_class=priority_class(self.scope.inputs.city.name, "platform"),
            affinity=context.affinity,
            grace_seconds=60,
        )
        # Pods roll when the administrator's password or a binding changes.
        content = pulumi.Output.all(secret_value(self.scope.inputs, context.admin_key), context.binding_content).apply(
            lambda known: pods.content_digest({"admin": sha256(known[0]), "bindings": known[1]})
        )
        labels = {**self.scope.labels, **context.selector}
        return stateful_set(context, pods.template(labels, spec, pulumi.Output.unsecret(content)))


def start(context: CapabilityScope) -> str:
    """The shell command that becomes the server."""
    heap = int(parse_quantity(context.resources()["memory"])) - BESIDE_HEAP
    connections = next(item.use.connections for item in context.uses if item.use.alias == DATABASE)
    options = f"-listen :{context.type.port} -admin :{ADMIN_PORT} -database {BINDING_ROOT}/{DATABASE}"
    options += f" -heap {heap // 1024**2} -connections {max(connections - SPARE_CONNECTIONS, 1)}"
    if context.tls:
        options += f" -certificate {tls.CERTIFICATE} -key {tls.KEY}"
    return f"set -eu\numask 077\nexec workflow {options}"
