"""The program of notification: one server, whose queue and accounts are in the PostgreSQL that it uses.

The channels are the City's own: their servers are reached by network policies that name them, and their credentials
come from the city's secret store.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import pulumi

from stacks import network_policies, pods
from stacks.base.kubernetes import priority_class
from stacks.objects import Manifest, secret_value
from stacks.passwords import sha256
from stacks.platforms import tls
from stacks.platforms.application.notification.access import ADMIN, ADMIN_PORT
from stacks.platforms.component import CapabilityComponent, CapabilityScope
from stacks.platforms.stateful import provisioning_policies, stateful_set
from wecityctl.inputs import StackInputs
from wecityctl.model import naming
from wecityctl.model.notification import Channel, Notification
from wecityctl.model.outputs import Endpoint
from wecityctl.model.quantity import parse_quantity
from wecityctl.model.variables import BINDING_ROOT

# The numeric user of the image.
USER = 65532
# The alias of the use of PostgreSQL.
DATABASE = "db"
FILES, CHANNELS = "/etc/notification", "channels.json"
# The ranges that organisations and clusters give their own machines and pods.
_NOT_PUBLIC = ("10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.168.0.0/16")


class NotificationServer(CapabilityComponent):
    """A server that takes messages of apps and sends them."""

    def build(self, context: CapabilityScope) -> Endpoint:
        inputs, name, namespace = self.scope.inputs, context.capability.name, context.namespace
        image, admin = inputs.images[context.type.images[0]], f"{name}-admin"
        password, settings = secret_value(inputs, context.admin_key), _settings(inputs)
        before = self.scope.add_all(
            [
                pods.secret(namespace, admin, {"username": ADMIN, "password": password}),
                pods.secret(namespace, f"{name}-channels", {CHANNELS: settings}),
                *([tls.secret(context)] if context.tls else []),
                *_flows(context),
            ]
        )
        self.scope.add_all(provisioning_policies(context))
        digest = pulumi.Output.all(password, settings, context.binding_content).apply(
            lambda known: pods.content_digest(
                {"admin": sha256(known[0]), "channels": sha256(known[1]), "bindings": known[2]}
            )
        )
        self.scope.after(*before).add(_workload(self, context, image, admin, pulumi.Output.unsecret(digest)))
        self.scope.add(context.service(name))
        return context.endpoint(service=name, admin_secret=admin, image=image)


def _workload(
    component: NotificationServer, context: CapabilityScope, image: str, admin: str, digest: pulumi.Output[str]
) -> Manifest:
    inputs, requests = component.scope.inputs, context.resources()
    ready: Manifest = {
        "httpGet": {"path": "/health", "port": "notify", "scheme": "HTTPS" if context.tls else "HTTP"},
        "periodSeconds": 2,
        "timeoutSeconds": 5,
    }
    server = pods.container(
        "notification",
        image,
        command=["notification", *options(context)],
        env=[
            pods.from_secret("ADMIN_PASSWORD", admin, "password"),
            {"name": "GOMEMLIMIT", "value": str(int(parse_quantity(requests["memory"])) * 9 // 10)},
        ],
        ports=context.ports,
        mounts=[
            {"name": "channels", "mountPath": FILES, "readOnly": True},
            *context.binding_mounts,
            *([tls.MOUNT] if context.tls else []),
        ],
        requests=requests,
        readiness=ready,
        # A restart does not bring the database back.
        liveness={"tcpSocket": {"port": "notify"}, "periodSeconds": 10, "failureThreshold": 6},
        startup={**ready, "periodSeconds": 1, "failureThreshold": 120},
    )
    spec = pods.pod(
        [server],
        cluster=inputs.cluster,
        volumes=[
            {"name": "channels", "secret": {"secretName": f"{context.capability.name}-channels", "defaultMode": 0o440}},
            *context.binding_volumes,
            *([tls.volume(context)] if context.tls else []),
        ],
        user=USER,
        priority_class=priority_class(inputs.city.name, "platform"),
        affinity=context.affinity,
        # What is being sent has half a minute, and what has come of it is written down.
        grace_seconds=60,
    )
    labels = {**component.scope.labels, **context.selector}
    return stateful_set(context, pods.template(labels, spec, digest))


def options(context: CapabilityScope) -> list[str]:
    """The command of the image's program that becomes the server, with its options."""
    (connections,) = (item.use.connections for item in context.uses if item.use.alias == DATABASE)
    found = [
        "serve",
        f"-listen=:{context.type.port}",
        f"-admin=:{ADMIN_PORT}",
        f"-database={BINDING_ROOT}/{DATABASE}",
        f"-connections={connections}",
        f"-channels={FILES}/{CHANNELS}",
    ]
    return [*found, f"-certificate={tls.CERTIFICATE}", f"-key={tls.KEY}"] if context.tls else found


def _settings(inputs: StackInputs) -> pulumi.Output[str]:
    """The file with the channels, as `image/go/serve` reads it."""
    notification = inputs.city.notification or Notification()
    secrets = {name: secret_value(inputs, naming.notification_key(name)) for name in notification.secrets}
    # Without any, `all` makes a list.
    known = pulumi.Output.all(**secrets) if secrets else pulumi.Output.from_input(dict[str, str]())
    return known.apply(lambda values: settings(notification, values))


def settings(notification: Notification, secrets: Mapping[str, str]) -> str:
    """The channels in JSON, with the values of their secrets."""
    found = {name: _channel(channel, secrets) for name, channel in notification.channels.items()}
    return json.dumps(found, indent=1)


def _channel(channel: Channel, secrets: Mapping[str, str]) -> dict[str, Any]:
    if channel.sink:
        return {"sink": True}
    host, port = channel.host_and_port
    return {
        "host": host,
        "port": port,
        "url": channel.url,
        "sender": channel.sender,
        "addresses": channel.addresses,
        "credentials": secrets.get(channel.credentials, ""),
        "authority": secrets.get(channel.authority, ""),
    }


def _flows(context: CapabilityScope) -> Iterator[Manifest]:
    """Yield the network policy to the servers of the channels: to the addresses and the port of each."""
    notification = context.scope.inputs.city.notification or Notification()
    opened = list[Manifest]()
    internet = {"ipBlock": {"cidr": "0.0.0.0/0", "except": list(_NOT_PUBLIC)}}
    for channel in notification.channels.values():
        if channel.sink:
            continue
        peers = network_policies.outside(channel.ranges) or [internet]
        rule = {"to": peers, "ports": [{"protocol": "TCP", "port": channel.host_and_port[1]}]}
        if rule not in opened:
            opened.append(rule)
    if opened:
        name = naming.fit(f"{context.capability.name}-to-channels")
        yield network_policies.policy(context.namespace, name, context.selector, egress=opened)
