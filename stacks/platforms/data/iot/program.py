"""IoT access as a capability: an MQTT server that all apps share, and the program before it that keeps them apart.

The server (`mosquitto`) listens on the loopback device of its pod alone. Clients talk to the container `front`, a
program of our own (`image/go`), which speaks TLS, gives sessions names that belong to their users, holds the limits
that the server does not have, adds and removes devices as apps ask for it, and tells metrics. Who may publish and
subscribe what, the server judges.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import pulumi

from stacks import pods
from stacks.base.kubernetes import priority_class
from stacks.objects import Manifest, secret_value
from stacks.platforms import tls
from stacks.platforms.component import CapabilityScope
from stacks.platforms.data.iot.access import QUEUE_MESSAGE_BYTES, QUEUE_SHARE
from stacks.platforms.stateful import stateful_set, volume_lock
from stacks.platforms.store import StoreComponent
from wecityctl.model.quantity import format_bytes, format_cpu, parse_quantity

# The numeric user of the image.
USER = 65532
DATA = "/data"
CONFIGURATION = "/etc/iot"
USERS, SESSIONS = f"{DATA}/users.json", f"{DATA}/sessions.json"
PLUGIN = "/usr/lib/x86_64-linux-gnu/mosquitto_dynamic_security.so"
# On the loopback device.
SERVER = "127.0.0.1:1883"
# The largest packet with its topic and properties, as in `image/go/front.go`.
PACKET_BYTES = 320 * 1024
# Connections beyond those of apps: the administrator's.
_RESERVED = 50


class Iot(StoreComponent):
    """An MQTT server with its front."""

    def admin_values(self, password: pulumi.Output[str]) -> Mapping[str, pulumi.Input[str]]:
        return {"password": password}

    def configuration(self, context: CapabilityScope) -> Sequence[Manifest]:
        name = f"{context.capability.name}-configuration"
        return [pods.config_map(context.namespace, name, {"mosquitto.conf": settings(context)})]

    def workload(self, context: CapabilityScope, image: str, admin: str) -> Manifest:
        requests = half(context)
        data: Manifest = {"name": "data", "mountPath": DATA}
        password = pods.from_secret("ADMIN_PASSWORD", admin, "password")
        configuration: Manifest = {"name": "configuration", "mountPath": CONFIGURATION, "readOnly": True}
        prepare = pods.container(
            "prepare",
            image,
            command=["/bin/sh", "-c", f"set -eu\numask 077\n{volume_lock(DATA)}iot prepare --users {USERS}"],
            env=[password],
            mounts=[data],
            requests=requests,
        )
        answers: Manifest = {"exec": {"command": ["iot", "alive", SERVER]}, "timeoutSeconds": 10}
        server = pods.container(
            "mosquitto",
            image,
            command=["/bin/sh", "-c", start(context)],
            mounts=[data, configuration],
            requests=requests,
            liveness={**answers, "periodSeconds": 10, "failureThreshold": 6},
            startup={**answers, "periodSeconds": 1, "failureThreshold": 120},
        )
        told: Manifest = {"port": "metrics", "scheme": "HTTPS" if context.tls else "HTTP"}
        front = pods.container(
            "front",
            image,
            command=["iot", "front", *_options(context)],
            env=[
                password,
                {"name": "GOMEMLIMIT", "value": str(int(parse_quantity(requests["memory"])) * 3 // 4)},
            ],
            ports=context.ports,
            mounts=[data, *([tls.MOUNT] if context.tls else [])],
            requests=requests,
            readiness={"httpGet": {"path": "/ready", **told}, "periodSeconds": 2, "timeoutSeconds": 5},
            liveness={
                "httpGet": {"path": "/metrics", **told}, "periodSeconds": 10, "timeoutSeconds": 5, "failureThreshold": 6
            },
        )  # fmt: skip
        name = context.capability.name
        spec = pods.pod(
            [server, front],
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
            lambda text: pods.content_digest({"admin": text, "settings": settings(context)})
        )
        labels = {**self.scope.labels, **context.selector}
        return stateful_set(context, pods.template(labels, spec, pulumi.Output.unsecret(content)))


def half(context: CapabilityScope) -> dict[str, str]:
    """The requests of each of the two containers."""
    whole = context.resources()
    return {
        "cpu": format_cpu(parse_quantity(whole["cpu"]) / 2),
        "memory": format_bytes(parse_quantity(whole["memory"]) / 2),
    }


def queue_bytes(context: CapabilityScope) -> int:
    """The bytes that the server queues for one session, and those of the retained messages of one account."""
    return int(parse_quantity(context.resources()["memory"])) // QUEUE_SHARE


def connections(context: CapabilityScope) -> int:
    """The connections of all apps together."""
    return context.type.connections[context.capability.size]


def start(context: CapabilityScope) -> str:
    """The shell command that becomes the server.

    Without memory it refuses messages, before the kernel ends it. Its own `memory_limit` cannot be used: the server
    counts what its plug-in answers as freed and not as taken, and refuses everything once the count is below nothing.
    """
    kibibytes = int(parse_quantity(half(context)["memory"])) * 3 // 4 // 1024
    limit = f"ulimit -d {kibibytes}"
    return f"set -eu\numask 077\n{limit}\n{volume_lock(DATA)}exec mosquitto -c {CONFIGURATION}/mosquitto.conf"


def _options(context: CapabilityScope) -> Iterator[str]:
    """The options of the front."""
    yield f"--listen=:{context.type.port}"
    yield f"--metrics=:{context.ports['metrics']}"
    yield f"--server={SERVER}"
    yield f"--users={USERS}"
    yield f"--sessions={SESSIONS}"
    yield f"--volume={DATA}"
    yield f"--connections={connections(context)}"
    yield f"--retained={queue_bytes(context)}"
    if context.tls:
        yield f"--certificate={tls.CERTIFICATE}"
        yield f"--key={tls.KEY}"


def settings(context: CapabilityScope) -> str:
    """The server's configuration: nobody without a password, bounded queues and memory, everything on the volume."""
    host, port = SERVER.split(":")
    queue = queue_bytes(context)
    return "\n".join(
        (
            f"listener {port} {host}",
            f"max_connections {connections(context) + _RESERVED}",
            # An alias would hide from the front on which topic a message is retained.
            "max_topic_alias 0",
            "allow_anonymous false",
            f"plugin {PLUGIN}",
            f"plugin_opt_config_file {USERS}",
            # Otherwise what a device retained could not be read, and so not be cleared, once the device is removed.
            "check_retain_source false",
            "persistence true",
            f"persistence_location {DATA}/",
            "autosave_interval 30",
            "persistent_client_expiration 7d",
            f"max_packet_size {PACKET_BYTES}",
            f"max_queued_bytes {queue}",
            f"max_queued_messages {queue // QUEUE_MESSAGE_BYTES}",
            "set_tcp_nodelay true",
            "sys_interval 10",
            "connection_messages false",
            "log_dest stderr",
            "log_type error",
            "log_type warning",
            "log_type notice",
            "",
        )
    )
