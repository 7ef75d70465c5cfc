"""The log store's objects on a cluster, and the shipper that runs on each of its nodes.

The store is VictoriaLogs in a program of ours (`image/go`), which lets an account read its tenant's logs only. Shippers
read the logs of their node's pods through the API server: pods of the restricted level see no files of the node.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping

import pulumi

from stacks import network_policies, pods
from stacks.base.kubernetes import priority_class
from stacks.objects import Manifest, secret_value
from stacks.platforms import tls
from stacks.platforms.component import CapabilityScope
from stacks.platforms.stateful import stateful_set, volume_lock
from stacks.platforms.store import StoreComponent
from wecityctl.model import naming
from wecityctl.model.observing import namespaces
from wecityctl.model.outputs import Endpoint
from wecityctl.model.quantity import parse_quantity

# The numeric user of the image.
USER = 65532
DATA = "/data"
# Of the volume, for logs. Above it the oldest day is dropped; the rest is for merges and for the newest two days, which
# are never dropped.
SHARE = (3, 4)
CONFIGURATION = "/etc/shipper"
SHIPPER = "shipper"


class Logs(StoreComponent):
    """A store of logs with a shipper on each node."""

    def build(self, context: CapabilityScope) -> Endpoint:
        endpoint = super().build(context)
        name, namespace = context.capability.name, context.namespace
        image = self.scope.inputs.images[context.type.images[0]]
        port = [context.type.port]
        shippers = {"podSelector": {"matchLabels": context.observer_selector}}
        store = {"podSelector": {"matchLabels": context.selector}}
        leaves, arrives = network_policies.to_peer(store, port), network_policies.from_peer(shippers, port)
        # Whose a line is follows from this list alone: neither a pod nor what it writes can say otherwise.
        inputs = self.scope.inputs
        found = namespaces(inputs.city, inputs.placement, inputs.stack.cloud)
        content = json.dumps([{"name": key, **owner} for key, owner in sorted(found.items())], indent=1)
        before = self.scope.add_all(
            [
                network_policies.policy(
                    namespace, naming.fit(f"{name}-shippers"), context.observer_selector, egress=[leaves]
                ),
                network_policies.policy(
                    namespace, naming.fit(f"{name}-from-shippers"), context.selector, ingress=[arrives]
                ),
                pods.config_map(namespace, f"{name}-namespaces", {"namespaces.json": content}),
            ]
        )
        self.scope.after(*before).add(self._shippers(context, image, endpoint, content))
        return endpoint

    def admin_values(self, password: pulumi.Output[str]) -> Mapping[str, pulumi.Input[str]]:
        return {"password": password, SHIPPER: password.apply(shipper_password)}

    def workload(self, context: CapabilityScope, image: str, admin: str) -> Manifest:
        ready: Manifest = {
            "httpGet": {"path": "/health", "port": "logs", "scheme": "HTTPS" if context.tls else "HTTP"},
            "periodSeconds": 2,
            "timeoutSeconds": 5,
        }
        server = pods.container(
            "logs",
            image,
            command=["/bin/sh", "-c", start(context)],
            env=[pods.from_secret("ADMIN_PASSWORD", admin, "password")],
            ports=context.ports,
            mounts=[{"name": "data", "mountPath": DATA}, *([tls.MOUNT] if context.tls else [])],
            requests=context.resources(),
            readiness=ready,
            liveness={**ready, "periodSeconds": 10, "failureThreshold": 6},
            startup={**ready, "periodSeconds": 1, "failureThreshold": 120},
        )
        name = context.capability.name
        spec = pods.pod(
            [server],
            cluster=self.scope.inputs.cluster,
            volumes=[
                {"name": "data", "persistentVolumeClaim": {"claimName": f"{name}-data"}},
                *([tls.volume(context)] if context.tls else []),
            ],
            user=USER,
            priority_class=priority_class(self.scope.inputs.city.name, "platform"),
            affinity=context.affinity,
        )
        labels = {**self.scope.labels, **context.selector}
        return stateful_set(context, pods.template(labels, spec, self._content(context)))

    def _shippers(self, context: CapabilityScope, image: str, endpoint: Endpoint, content: str) -> Manifest:
        """The DaemonSet of the shippers. It has no affinity to a zone: pods of all zones are read."""
        name = context.capability.name
        scheme = "https" if context.tls else "http"
        arguments = [
            f"--store={scheme}://{endpoint.host}:{endpoint.port}",
            f"--namespaces={CONFIGURATION}/namespaces.json",
            *([f"--authority={tls.AUTHORITY}"] if context.tls else []),
        ]
        requests = context.resources(SHIPPER)
        shipper = pods.container(
            SHIPPER,
            image,
            command=["logs", "ship", *arguments],
            env=[
                {"name": "NODE_NAME", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}},
                pods.from_secret("SHIPPER_PASSWORD", endpoint.admin_secret, SHIPPER),
                {"name": "GOMEMLIMIT", "value": str(int(parse_quantity(requests["memory"]) * 3 / 4))},
            ],
            mounts=[
                {"name": "namespaces", "mountPath": CONFIGURATION, "readOnly": True},
                *([tls.MOUNT] if context.tls else []),
            ],
            requests=requests,
            # It listens nowhere: it notes itself when it has reached the store.
            readiness={"exec": {"command": ["logs", "ready"]}, "periodSeconds": 10, "timeoutSeconds": 10},
            startup={"exec": {"command": ["logs", "ready"]}, "periodSeconds": 2, "failureThreshold": 90},
        )
        spec = pods.pod(
            [shipper],
            cluster=self.scope.inputs.cluster,
            service_account=context.observer_account,
            token=True,
            volumes=[
                {"name": "namespaces", "configMap": {"name": f"{name}-namespaces"}},
                *([tls.authority_volume(name)] if context.tls else []),
            ],
            user=USER,
            priority_class=priority_class(self.scope.inputs.city.name, "platform"),
            architectures=context.type.architectures_in(self.scope.inputs.city.images.architectures),
        )
        labels = {**self.scope.labels, **context.observer_selector}
        digest = pulumi.Output.concat(self._content(context), pods.content_digest({"namespaces": content})[:8])
        return {
            "apiVersion": "apps/v1",
            "kind": "DaemonSet",
            "metadata": {"name": naming.fit(f"{name}-shipper"), "namespace": context.namespace},
            "spec": {
                "selector": {"matchLabels": context.observer_selector},
                # The logs of a node wait a moment; two shippers at once would send them twice.
                "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 1}},
                "template": pods.template(labels, spec, digest),
            },
        }

    def _content(self, context: CapabilityScope) -> pulumi.Output[str]:
        password = secret_value(self.scope.inputs, context.admin_key)
        return pulumi.Output.unsecret(password.apply(lambda text: pods.content_digest({"admin": text})))


def start(context: CapabilityScope) -> str:
    """The shell command that becomes the store."""
    share, whole = SHARE
    options = [
        f"--data={DATA}",
        f"--listen=:{context.type.port}",
        f"--metrics=:{context.ports['metrics']}",
        f"--retention-days={context.scope.inputs.city.compliance.log_retention_days}",
        f"--limit-bytes={int(parse_quantity(context.storage)) * share // whole}",
        f"--memory-bytes={int(parse_quantity(context.resources()['memory'])) // 2}",
    ]
    if context.tls:
        options.append(f"--cert={tls.CERTIFICATE} --key={tls.KEY}")
    return f"set -eu\numask 077\n{volume_lock(DATA)}exec logs store {' '.join(options)}"


def shipper_password(admin: str) -> str:
    """The password of the shippers, as the store derives it from the administrator's (`image/go/store`)."""
    return hashlib.sha256(f"shipper:{admin}".encode()).hexdigest()
