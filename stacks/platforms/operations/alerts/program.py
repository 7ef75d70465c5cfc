"""The program of alerts: vmalert evaluates rules over the metrics, Alertmanager beside it tells who is to be told.

Alertmanager listens to vmalert alone, on the pod's loopback device. What fires is asked of vmalert, as administrator.
"""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Iterator
from urllib.parse import urlsplit

import pulumi

from stacks import network_policies, pods
from stacks.base.kubernetes import priority_class
from stacks.objects import Manifest, secret_value
from stacks.passwords import sha256
from stacks.platforms import tls
from stacks.platforms.component import CapabilityComponent, CapabilityScope
from stacks.platforms.operations.alerts import rules
from wecityctl.model import naming
from wecityctl.model.outputs import Endpoint
from wecityctl.model.quantity import parse_quantity
from wecityctl.model.service_tls import speaks_tls
from wecityctl.model.variables import BINDING_ROOT

# The numeric user of the image.
USER = 65532
ADMIN = "admin"
MANAGER_PORT = 9093
FILES, ADMIN_FILES = "/etc/alerts", "/etc/admin"
# The alias of the use of metrics.
METRICS = "metrics"


class Alerts(CapabilityComponent):
    """Rules and who is told."""

    def build(self, context: CapabilityScope) -> Endpoint:
        inputs, name, namespace = self.scope.inputs, context.capability.name, context.namespace
        image, admin = inputs.images[context.type.images[0]], f"{name}-admin"
        password = secret_value(inputs, context.admin_key)
        files = {
            "rules.yaml": json.dumps(rules.groups(inputs), indent=1),
            "alertmanager.yaml": json.dumps(rules.routing(inputs), indent=1),
        }
        before = self.scope.add_all(
            [
                pods.secret(namespace, admin, {"username": ADMIN, "password": password}),
                # Addresses of webhooks are nobody else's business.
                pods.secret(namespace, f"{name}-files", files),
                *([tls.secret(context)] if context.tls else []),
                *_flows(context),
            ]
        )
        digest = pulumi.Output.all(password, context.binding_content).apply(
            lambda values: pods.content_digest({**files, "admin": sha256(values[0]), "metrics": values[1]})
        )
        self.scope.after(*before).add(self._workload(context, image, admin, pulumi.Output.unsecret(digest)))
        self.scope.add(context.service(name))
        return context.endpoint(service=name, admin_secret=admin, image=image)

    def _workload(self, context: CapabilityScope, image: str, admin: str, digest: pulumi.Output[str]) -> Manifest:
        name, requests = context.capability.name, context.resources()
        manager = context.workload().sidecar("alertmanager")
        files: Manifest = {"name": "files", "mountPath": FILES, "readOnly": True}
        ready: Manifest = {
            "httpGet": {"path": "/health", "port": "alerts", "scheme": "HTTPS" if context.tls else "HTTP"},
            "periodSeconds": 2,
            "timeoutSeconds": 5,
        }
        evaluator = pods.container(
            "alerts",
            image,
            command=["/bin/sh", "-c", evaluate(context)],
            env=[{"name": "GOMEMLIMIT", "value": str(int(parse_quantity(requests["memory"])) * 9 // 10)}],
            ports=context.ports,
            mounts=[
                files,
                {"name": "admin", "mountPath": ADMIN_FILES, "readOnly": True},
                *context.binding_mounts,
                *([tls.MOUNT] if context.tls else []),
            ],
            requests=requests,
            readiness=ready,
            liveness={**ready, "periodSeconds": 10, "failureThreshold": 6},
        )
        asked = f"curl --silent --fail --max-time 4 --output /dev/null http://127.0.0.1:{MANAGER_PORT}/-/ready"
        teller = pods.container(
            "alertmanager",
            image,
            command=["alertmanager", *_manager()],
            env=[{"name": "GOMEMLIMIT", "value": str(int(parse_quantity(manager.memory)) * 9 // 10)}],
            mounts=[files],
            requests=manager.requests,
            readiness={"exec": {"command": ["/bin/sh", "-c", asked]}, "periodSeconds": 5, "timeoutSeconds": 5},
        )
        spec = pods.pod(
            [evaluator, teller],
            cluster=self.scope.inputs.cluster,
            volumes=[
                {"name": "files", "secret": {"secretName": f"{name}-files", "defaultMode": 0o440}},
                {"name": "admin", "secret": {"secretName": admin, "defaultMode": 0o440}},
                *context.binding_volumes,
                *([tls.volume(context)] if context.tls else []),
            ],
            user=USER,
            priority_class=priority_class(self.scope.inputs.city.name, "platform"),
            affinity=context.affinity,
        )
        labels = {**self.scope.labels, **context.selector}
        return {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": name, "namespace": context.namespace},
            "spec": {
                "replicas": 1,
                # Two would tell everything twice.
                "strategy": {"type": "Recreate"},
                "revisionHistoryLimit": 1,
                "selector": {"matchLabels": context.selector},
                "template": pods.template(labels, spec, digest),
            },
        }


def evaluate(context: CapabilityScope) -> str:
    """The shell command that becomes vmalert. It finds the metrics by its binding."""
    binding = f"{BINDING_ROOT}/{METRICS}"
    options = []
    # The results are written beside the metrics, and read at the start: what has begun goes on after a restart.
    for use in ("datasource", "remoteWrite", "remoteRead"):
        options += [f'-{use}.url="$url"', f'-{use}.basicAuth.username="$user"']
        options += [f"-{use}.basicAuth.passwordFile={binding}/password"]
        options += [f"-{use}.tlsCAFile={binding}/ca.crt"] if context.bindings and _is_metrics_tls(context) else []
    options += [
        f"-rule={FILES}/rules.yaml",
        f"-notifier.url=http://127.0.0.1:{MANAGER_PORT}",
        f"-evaluationInterval={rules.EVERY}s",
        # The store answers with what it got a second ago.
        "-rule.evalDelay=1s",
        "-remoteWrite.flushInterval=1s",
        f"-httpListenAddr=:{context.type.port}",
        f"-httpAuth.username={ADMIN}",
        f"-httpAuth.password=file://{ADMIN_FILES}/password",
        "-loggerLevel=WARN",
    ]
    if context.tls:
        options += ["-tls", f"-tlsCertFile={tls.CERTIFICATE}", f"-tlsKeyFile={tls.KEY}"]
    read = f"url=$(cat {binding}/url) user=$(cat {binding}/username)"
    return f"set -eu\n{read}\nexec vmalert {' '.join(options)}"


def _is_metrics_tls(context: CapabilityScope) -> bool:
    inputs = context.scope.inputs
    return any(
        item.use.alias == METRICS and speaks_tls(inputs.city.capability(item.use.capability), inputs.catalogue)
        for item in context.uses
    )


def _manager() -> Iterator[str]:
    """Alertmanager's options: one of its kind, on the loopback device."""
    yield f"--config.file={FILES}/alertmanager.yaml"
    yield "--storage.path=/tmp/alertmanager"
    yield "--data.retention=24h"
    yield f"--web.listen-address=127.0.0.1:{MANAGER_PORT}"
    yield "--cluster.listen-address="
    yield "--log.level=warn"


def _flows(context: CapabilityScope) -> Iterator[Manifest]:
    """Yield the network policies to the webhooks, each to its address and port."""
    name, opened = context.capability.name, []
    for url in sorted({url for _, _, url in rules.receivers(context.scope.inputs)}):
        parts = urlsplit(url)
        port = parts.port or (443 if parts.scheme == "https" else 80)
        rule = {"to": network_policies.outside([_range(parts.hostname or "")]), "ports": [_tcp(port)]}
        if rule not in opened:
            opened.append(rule)
    if opened:
        yield network_policies.policy(
            context.namespace, naming.fit(f"{name}-to-webhooks"), context.selector, egress=opened
        )


def _range(host: str) -> str:
    """The addresses of a host: its own, or any for a name, whose addresses policies do not know."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return "0.0.0.0/0"
    return f"{address}/{address.max_prefixlen}"


def _tcp(port: int) -> Manifest:
    return {"protocol": "TCP", "port": port}
