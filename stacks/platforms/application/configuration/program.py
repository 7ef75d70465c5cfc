"""The program of the configuration: one server, whose accounts and values are in the PostgreSQL that it uses."""

from __future__ import annotations

import pulumi

from stacks import pods
from stacks.base.kubernetes import priority_class
from stacks.objects import Manifest, secret_value
from stacks.passwords import sha256
from stacks.platforms import tls
from stacks.platforms.application.configuration.access import ADMIN, ADMIN_PORT
from stacks.platforms.component import CapabilityComponent, CapabilityScope
from stacks.platforms.stateful import provisioning_policies, stateful_set
from wecityctl.model.outputs import Endpoint
from wecityctl.model.quantity import parse_quantity
from wecityctl.model.variables import BINDING_ROOT

# The numeric user of the image.
USER = 65532
# The alias of the use of PostgreSQL.
DATABASE = "db"
# The share of the database that the limits of all accounts come to at the most: it keeps rows that were replaced until
# they are cleaned up, and an index.
SHARE = 4


class Configuration(CapabilityComponent):
    """A server of the configuration."""

    def build(self, context: CapabilityScope) -> Endpoint:
        inputs, name, namespace = self.scope.inputs, context.capability.name, context.namespace
        image, admin = inputs.images[context.type.images[0]], f"{name}-admin"
        password = secret_value(inputs, context.admin_key)
        before = [self.scope.add(pods.secret(namespace, admin, {"username": ADMIN, "password": password}))]
        self.scope.add_all(provisioning_policies(context))
        before += self.scope.add_all([tls.secret(context)] if context.tls else [])
        digest = pulumi.Output.all(password, context.binding_content).apply(
            lambda known: pods.content_digest({"admin": sha256(known[0]), "bindings": known[1]})
        )
        self.scope.after(*before).add(self._workload(context, image, admin, pulumi.Output.unsecret(digest)))
        self.scope.add(context.service(name))
        return context.endpoint(service=name, admin_secret=admin, image=image)

    def _workload(self, context: CapabilityScope, image: str, admin: str, digest: pulumi.Output[str]) -> Manifest:
        requests = context.resources()
        ready: Manifest = {
            "httpGet": {"path": "/health", "port": "values", "scheme": "HTTPS" if context.tls else "HTTP"},
            "periodSeconds": 2,
            "timeoutSeconds": 5,
        }
        server = pods.container(
            "configuration",
            image,
            command=["configuration", *options(context)],
            env=[
                pods.from_secret("ADMIN_PASSWORD", admin, "password"),
                {"name": "GOMEMLIMIT", "value": str(int(parse_quantity(requests["memory"])) * 9 // 10)},
            ],
            ports=context.ports,
            mounts=[*context.binding_mounts, *([tls.MOUNT] if context.tls else [])],
            requests=requests,
            readiness=ready,
            # A restart does not bring the database back.
            liveness={"tcpSocket": {"port": "values"}, "periodSeconds": 10, "failureThreshold": 6},
            startup={**ready, "periodSeconds": 1, "failureThreshold": 120},
        )
        spec = pods.pod(
            [server],
            cluster=self.scope.inputs.cluster,
            volumes=[*context.binding_volumes, *([tls.volume(context)] if context.tls else [])],
            user=USER,
            priority_class=priority_class(self.scope.inputs.city.name, "platform"),
            affinity=context.affinity,
            grace_seconds=30,
        )
        return stateful_set(context, pods.template({**self.scope.labels, **context.selector}, spec, digest))


def options(context: CapabilityScope) -> list[str]:
    """The command of the image's program that becomes the server, with its options."""
    (database,) = (item.use for item in context.uses if item.use.alias == DATABASE)
    found = [
        "serve",
        f"-listen=:{context.type.port}",
        f"-admin=:{ADMIN_PORT}",
        f"-database={BINDING_ROOT}/{DATABASE}",
        f"-database-connections={database.connections}",
        f"-storage={int(parse_quantity(database.storage)) // SHARE}",
        f"-connections={context.type.connections[context.capability.size]}",
    ]
    return [*found, f"-certificate={tls.CERTIFICATE}", f"-key={tls.KEY}"] if context.tls else found
