"""The program of alerts: vmalert evaluates rules over the metrics, Alertmanager beside it tells who is to be told.

Alertmanager listens to vmalert alone, on the pod's loopback device. What fires is asked of vmalert, as administrator.
Alertmanager reaches webhooks through a proxy beside it, which bounds what they answer and where their names lead.
"""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict

import pulumi

from stacks import network_policies, pods
from stacks.base.kubernetes import priority_class
from stacks.objects import Manifest, secret_value
from stacks.passwords import sha256
from stacks.platforms import tls
from stacks.platforms.component import CapabilityComponent, CapabilityScope
from stacks.platforms.operations.alerts import SIDECARS, rules
from wecityctl.model import naming
from wecityctl.model.outputs import Endpoint
from wecityctl.model.quantity import parse_quantity
from wecityctl.model.service_tls import speaks_tls
from wecityctl.model.variables import BINDING_ROOT

# The numeric user of the image.
USER = 65532
ADMIN = "admin"
MANAGER_PORT = 9093
MANAGER_LIMITS, PROXY_LIMITS = {"memory": "40Mi"}, {"memory": "32Mi"}
FILES, ADMIN_FILES = "/etc/alerts", "/etc/admin"
# The ranges that organisations and clusters give their own machines and pods.
_NOT_PUBLIC = ("10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.168.0.0/16")
# Of a cluster whose ranges nobody knows, these are its own at least; the kubelet adds the Service of the API servers.
_SURROUNDINGS: tuple[Manifest, ...] = tuple(
    {"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}}
    for name, path in (("NODE_ADDRESSES", "status.hostIPs"), ("POD_ADDRESSES", "status.podIPs"))
)
# The alias of the use of metrics.
METRICS = "metrics"
# When vmalert evaluates and tells. The store answers with what it got a second ago.
PACE = (f"-evaluationInterval={rules.EVERY}s", f"-rule.resendDelay={rules.RESEND}s", "-rule.evalDelay=1s")


class Alerts(CapabilityComponent):
    """Rules and who is told."""

    def build(self, context: CapabilityScope) -> Endpoint:
        inputs, name, namespace = self.scope.inputs, context.capability.name, context.namespace
        image, admin = inputs.images[context.type.images[0]], f"{name}-admin"
        password = secret_value(inputs, context.admin_key)
        told = list(rules.receivers(inputs))
        files = {
            "rules.yaml": json.dumps(rules.groups(inputs), indent=1),
            "alertmanager.yaml": json.dumps(rules.routing(told), indent=1),
            "webhooks.json": json.dumps([asdict(item) for item in rules.webhooks(told)], indent=1),
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
        manager, way = (context.workload().sidecar(item.name) for item in SIDECARS)
        files: Manifest = {"name": "files", "mountPath": FILES, "readOnly": True}
        password: Manifest = {"name": "admin", "mountPath": ADMIN_FILES, "readOnly": True}
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
                password,
                *context.binding_mounts,
                *([tls.MOUNT] if context.tls else []),
            ],
            requests=requests,
            readiness=ready,
            liveness={**ready, "periodSeconds": 10, "failureThreshold": 6},
        )
        teller = pods.container(
            "alertmanager",
            image,
            command=["alertmanager", *_manager()],
            env=[_memory(MANAGER_LIMITS)],
            mounts=[files],
            requests=manager.requests,
            limits=MANAGER_LIMITS,
            # With the proxy, without which it tells nobody: one program that asks, instead of one in each container.
            readiness=_answer(f"http://127.0.0.1:{MANAGER_PORT}/-/ready", f"http://127.0.0.1:{rules.PROXY_PORT}/"),
        )
        proxy = pods.container(
            "webhooks",
            image,
            command=["alerts-webhooks", *_proxy(context)],
            env=[_memory(PROXY_LIMITS), *_SURROUNDINGS],
            mounts=[files, password, *([tls.MOUNT] if context.tls else [])],
            requests=way.requests,
            limits=PROXY_LIMITS,
        )
        spec = pods.pod(
            [evaluator, teller, proxy],
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
        *PACE,
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


def _memory(limits: Mapping[str, str]) -> Manifest:
    """The variable by which a Go program stays below its limit."""
    return {"name": "GOMEMLIMIT", "value": str(int(parse_quantity(limits["memory"])) * 9 // 10)}


def _answer(*urls: str) -> Manifest:
    """The probe of servers on the loopback device, which the kubelet cannot ask."""
    asked = " ".join(("curl --silent --fail --fail-early --max-time 4", *(f"--output /dev/null {url}" for url in urls)))
    return {"exec": {"command": ["/bin/sh", "-c", asked]}, "periodSeconds": 5, "timeoutSeconds": 5}


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
    # Otherwise nobody knows whose messages are not taken.
    yield "--enable-feature=receiver-name-in-metrics"


def _proxy(context: CapabilityScope) -> Iterator[str]:
    """The options of the way to webhooks, which also tells what Alertmanager counts of its messages, and looks whether
    vmalert evaluates the rules: no rule could say so itself."""
    yield f"-listen=127.0.0.1:{rules.PROXY_PORT}"
    yield f"-webhooks={FILES}/webhooks.json"
    yield f"-figures=:{context.ports['metrics']}"
    yield f"-evaluator={'https' if context.tls else 'http'}://127.0.0.1:{context.type.port}"
    yield f"-manager=http://127.0.0.1:{MANAGER_PORT}"
    yield f"-password={ADMIN_FILES}/password"
    yield f"-own={','.join(rules.own_networks(context.scope.inputs))}"
    if context.tls:
        yield f"-certificate={tls.CERTIFICATE}"
        yield f"-key={tls.KEY}"


def _flows(context: CapabilityScope) -> Iterator[Manifest]:
    """Yield the network policies to the webhooks, each to its addresses and port."""
    name, opened = context.capability.name, list[Manifest]()
    own = [ipaddress.ip_network(text) for text in rules.own_networks(context.scope.inputs)]
    for item in rules.webhooks(rules.receivers(context.scope.inputs)):
        peers = _peers(item) if item.may_be_own else [*_without(_peers(item), own)]
        rule = {"to": peers, "ports": [{"protocol": "TCP", "port": item.port}]}
        # A rule without peers would open all.
        if peers and rule not in opened:
            opened.append(rule)
    if opened:
        yield network_policies.policy(
            context.namespace, naming.fit(f"{name}-to-webhooks"), context.selector, egress=opened
        )


_Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def _without(peers: Iterable[Manifest], own: Sequence[_Network]) -> Iterator[Manifest]:
    """The peers without what of them is in the city's own clusters."""
    for peer in peers:
        block = peer["ipBlock"]
        whole = ipaddress.ip_network(block["cidr"])
        same = [item for item in own if item.version == whole.version]
        if any(whole.subnet_of(item) for item in same):  # type: ignore[arg-type]
            continue
        inner = [str(item) for item in same if item.subnet_of(whole)]  # type: ignore[arg-type]
        excepted = [*block.get("except", ()), *inner]
        yield {"ipBlock": {**block, **({"except": excepted} if excepted else {})}}


def _peers(webhook: rules.Webhook) -> list[Manifest]:
    """Where a webhook may be: at its own address, in the ranges that the files name, or on the internet."""
    if not webhook.is_name:
        address = ipaddress.ip_address(webhook.host)
        return network_policies.outside([f"{address}/{address.max_prefixlen}"])
    internet = {"ipBlock": {"cidr": "0.0.0.0/0", "except": list(_NOT_PUBLIC)}}
    return [*network_policies.outside(webhook.addresses), internet]
