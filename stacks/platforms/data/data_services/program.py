"""The program of data services: one server, whose catalogue and accounts are in the PostgreSQL that it uses.

It has two roles there: one owns the catalogue; the other reads the tables of owners, who grant it that.
"""

from __future__ import annotations

import pulumi

from stacks import pods
from stacks.base.kubernetes import priority_class
from stacks.objects import Manifest, secret_value
from stacks.passwords import sha256
from stacks.platforms import tls
from stacks.platforms.component import CapabilityComponent, CapabilityScope
from stacks.platforms.data.data_services.access import ADMIN, ADMIN_PORT
from stacks.platforms.stateful import provisioning_policies, stateful_set
from wecityctl.model import naming
from wecityctl.model.outputs import Endpoint
from wecityctl.model.quantity import parse_quantity
from wecityctl.model.variables import BINDING_ROOT

# The numeric user of the image.
USER = 65532
# The aliases of the uses of PostgreSQL.
CATALOGUE, READER = "db", "reader"
# The entry of the administrator's Secret with the key of cursors and of hashes that stand for values. It is another
# value than the password, with whose rotation all hashes would change.
MASKING = "masking"


class DataServices(CapabilityComponent):
    """A server of data services."""

    def build(self, context: CapabilityScope) -> Endpoint:
        inputs, name, namespace = self.scope.inputs, context.capability.name, context.namespace
        image, admin = inputs.images[context.type.images[0]], f"{name}-admin"
        password = secret_value(inputs, context.admin_key)
        masking = secret_value(inputs, naming.instance_key(name, MASKING))
        values = {"username": ADMIN, "password": password, MASKING: masking}
        before = [self.scope.add(pods.secret(namespace, admin, values))]
        self.scope.add_all(provisioning_policies(context))
        before += self.scope.add_all([tls.secret(context)] if context.tls else [])
        digest = pulumi.Output.all(password, context.binding_content).apply(
            lambda known: pods.content_digest({"admin": sha256(known[0]), "bindings": known[1]})
        )
        self.scope.after(*before).add(_workload(self, context, image, admin, pulumi.Output.unsecret(digest)))
        self.scope.add(context.service(name))
        return context.endpoint(service=name, admin_secret=admin, image=image)


def _workload(
    component: DataServices, context: CapabilityScope, image: str, admin: str, digest: pulumi.Output[str]
) -> Manifest:
    inputs, requests = component.scope.inputs, context.resources()
    ready: Manifest = {
        "httpGet": {"path": "/health", "port": "data", "scheme": "HTTPS" if context.tls else "HTTP"},
        "periodSeconds": 2,
        "timeoutSeconds": 5,
    }
    server = pods.container(
        "data-services",
        image,
        command=["data-services", *options(context)],
        env=[
            pods.from_secret("ADMIN_PASSWORD", admin, "password"),
            pods.from_secret("MASKING_KEY", admin, MASKING),
            {"name": "GOMEMLIMIT", "value": str(int(parse_quantity(requests["memory"])) * 9 // 10)},
        ],
        ports=context.ports,
        mounts=[*context.binding_mounts, *([tls.MOUNT] if context.tls else [])],
        requests=requests,
        readiness=ready,
        # A restart does not bring the database back.
        liveness={"tcpSocket": {"port": "data"}, "periodSeconds": 10, "failureThreshold": 6},
        startup={**ready, "periodSeconds": 1, "failureThreshold": 120},
    )
    spec = pods.pod(
        [server],
        cluster=inputs.cluster,
        volumes=[*context.binding_volumes, *([tls.volume(context)] if context.tls else [])],
        user=USER,
        priority_class=priority_class(inputs.city.name, "platform"),
        affinity=context.affinity,
        grace_seconds=30,
    )
    labels = {**component.scope.labels, **context.selector}
    return stateful_set(context, pods.template(labels, spec, digest))


def options(context: CapabilityScope) -> list[str]:
    """The command of the image's program that becomes the server, with its options."""
    connections = {item.use.alias: item.use.connections for item in context.uses}
    found = [
        "serve",
        f"-listen=:{context.type.port}",
        f"-admin=:{ADMIN_PORT}",
        f"-catalogue={BINDING_ROOT}/{CATALOGUE}",
        f"-catalogue-connections={connections[CATALOGUE]}",
        f"-reader={BINDING_ROOT}/{READER}",
        f"-reader-connections={connections[READER]}",
    ]
    return [*found, f"-certificate={tls.CERTIFICATE}", f"-key={tls.KEY}"] if context.tls else found
