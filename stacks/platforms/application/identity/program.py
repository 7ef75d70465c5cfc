"""The program of identity: one Keycloak server, whose data is in the PostgreSQL database that its use gives it.

Provisioning Jobs (`stacks.provisioning`) create realms and clients as `access` defines.
"""

from __future__ import annotations

from stacks import pods
from stacks.base.kubernetes import priority_class
from stacks.objects import Manifest, secret_value
from stacks.platforms import tls
from stacks.platforms.application.identity.access import ADMIN, PATH
from stacks.platforms.component import CapabilityComponent, CapabilityScope
from stacks.platforms.stateful import provisioning_policies, stateful_set
from wecityctl.model.outputs import Endpoint
from wecityctl.model.quantity import parse_quantity
from wecityctl.model.signing_in import sign_in_of
from wecityctl.model.variables import BINDING_ROOT

# The numeric user of the image.
USER = 1000
DATABASE = "db"
# What Java takes beside its heap: measured 140 MiB under load, with room for more threads and classes.
BESIDE_HEAP = 448 * 1024**2
# Connections of the database's role that the server leaves free, for the time in which pods follow one another.
SPARE_CONNECTIONS = 4
# Where the server writes whom it trusts, from the city's certificates.
DATA = "/opt/keycloak/data"
# Requests that wait; more are refused with 503.
QUEUED_REQUESTS = 500

START = f"""set -eu
db={BINDING_ROOT}/{DATABASE}
read_entry() {{ cat "$db/$1"; }}
export KC_DB_URL="jdbc:postgresql://$(read_entry host):$(read_entry port)/$(read_entry database)"
[ ! -e "$db/ca.crt" ] || KC_DB_URL="$KC_DB_URL?sslmode=verify-full&sslrootcert=$db/ca.crt"
export KC_DB_USERNAME="$(read_entry username)" KC_DB_PASSWORD="$(read_entry password)"
exec /opt/keycloak/bin/kc.sh start --optimized
"""


class Identity(CapabilityComponent):
    """A Keycloak server as a component resource."""

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
            "httpGet": {
                "path": f"{PATH}/health/ready",
                "port": "management",
                "scheme": "HTTPS" if context.tls else "HTTP",
            },
            "periodSeconds": 5,
            "timeoutSeconds": 10,
        }
        server = pods.container(
            "identity",
            image,
            command=["/bin/sh", "-c", START],
            env=[
                pods.from_secret("KC_BOOTSTRAP_ADMIN_USERNAME", admin, "username"),
                pods.from_secret("KC_BOOTSTRAP_ADMIN_PASSWORD", admin, "password"),
                *({"name": key, "value": value} for key, value in settings(context).items()),
            ],
            ports=context.ports,
            mounts=[
                *context.binding_mounts,
                *([tls.MOUNT] if context.tls else []),
                *([{"name": "data", "mountPath": DATA}] if _tells(context) else []),
            ],
            requests=context.resources(),
            readiness=ready,
            liveness={
                **ready,
                "httpGet": {**ready["httpGet"], "path": f"{PATH}/health/live"},
                "periodSeconds": 10,
                "failureThreshold": 6,
            },
            # The first start makes the database's tables: half a minute, and minutes on a busy machine.
            startup={**ready, "failureThreshold": 120},
        )
        spec = pods.pod(
            [server],
            cluster=self.scope.inputs.cluster,
            volumes=[
                *context.binding_volumes,
                *([tls.volume(context)] if context.tls else []),
                *([{"name": "data", "emptyDir": {"sizeLimit": "64Mi"}}] if _tells(context) else []),
            ],
            user=USER,
            priority_class=priority_class(self.scope.inputs.city.name, "platform"),
            affinity=context.affinity,
            grace_seconds=60,
        )
        return stateful_set(
            context, pods.template({**self.scope.labels, **context.selector}, spec, context.binding_content)
        )


def settings(context: CapabilityScope) -> dict[str, str]:
    """The server's environment variables, but for the database and the administrator."""
    heap = int(parse_quantity(context.resources()["memory"])) - BESIDE_HEAP
    connections = next(item.use.connections for item in context.uses if item.use.alias == DATABASE)
    found = {
        # The address of a request is the issuer of its tokens, so that each user finds that of its binding, also at a
        # node port of another cloud. See the decision record on identity.
        "KC_HOSTNAME_STRICT": "false",
        # There is one server: nobody else has sessions in memory.
        "KC_CACHE": "local",
        "KC_DB_POOL_MAX_SIZE": str(max(connections - SPARE_CONNECTIONS, 1)),
        "KC_HTTP_MAX_QUEUED_REQUESTS": str(QUEUED_REQUESTS),
        "KC_HTTP_MANAGEMENT_PORT": str(context.ports["management"]),
        "JAVA_OPTS_KC_HEAP": f"-Xms64m -Xmx{heap // 1024**2}m",
    }
    if _tells(context):
        found["KC_TRUSTSTORE_PATHS"] = tls.AUTHORITY
    if not context.tls:
        return {**found, "KC_HTTP_ENABLED": "true", "KC_HTTP_PORT": str(context.type.port)}
    return {
        **found,
        "KC_HTTPS_PORT": str(context.type.port),
        "KC_HTTPS_CERTIFICATE_FILE": tls.CERTIFICATE,
        "KC_HTTPS_CERTIFICATE_KEY_FILE": tls.KEY,
        "KC_HTTPS_PROTOCOLS": "TLSv1.3,TLSv1.2",
        "KC_HTTPS_CERTIFICATES_RELOAD_PERIOD": "1m",
    }


def _tells(context: CapabilityScope) -> bool:
    """Whether the server tells the city's sign-in service that sessions have ended."""
    inputs = context.scope.inputs
    return context.tls and sign_in_of(inputs.city, inputs.catalogue) is not None
