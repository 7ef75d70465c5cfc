"""The program of the metrics platform: a store with accounts, and an observer that scrapes for it.

The store has a volume and no rights in the cluster. The observer, in pods of its own, reads the state of the city's
objects (`image/go/state`), finds the pods that serve metrics, scrapes them (vmagent) and writes to the store as the
account `observer`, which can do nothing else.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence

import pulumi

from stacks import network_policies, pods
from stacks.base.kubernetes import priority_class
from stacks.objects import Manifest, secret_value
from stacks.passwords import sha256
from stacks.platforms import tls
from stacks.platforms.component import CapabilityScope
from stacks.platforms.operations.metrics import scraping
from stacks.platforms.operations.metrics.access import ADMIN, ADMIN_PORT, OBSERVER
from stacks.platforms.stateful import stateful_set, volume_lock
from stacks.platforms.store import StoreComponent
from wecityctl.model import naming
from wecityctl.model.observing import namespaces
from wecityctl.model.outputs import Endpoint
from wecityctl.model.quantity import parse_quantity

# The numeric user of the image.
USER = 65532
DATA = "/data"
SERIES, ACCOUNTS = f"{DATA}/series", f"{DATA}/accounts"
# On loopback devices: the store behind `access`, and the agent's own page.
STORE_PORT, AGENT_PORT = 8480, 8483
# Bills of a year are made from the series of usage, and the store has one time for all. Days.
RETENTION = 400
# New series in an hour and in a day, for each MiB of the store's memory. A pod that makes up names meets them.
HOURLY_SERIES, DAILY_SERIES = 300, 600
# Percent of the store's memory: for Go's heap, and for caches, which lie outside of it and are full soon after a start
# on old data. What is left is for stacks, connections and the program itself.
HEAP, CACHES = 50, 40
# Below so many free bytes the store takes nothing more: what merges and its end write still fits. Of a small volume it
# is a part, so that `VolumeNearFull` is told before.
RESERVE, RESERVED_PART = 256_000_000, 20
ADMIN_FILES, SCRAPING = "/etc/observer", "/etc/scraping"


class Metrics(StoreComponent):
    """A store of metrics and its observer."""

    def build(self, context: CapabilityScope) -> Endpoint:
        found = super().build(context)
        ready = self.scope.after(*(made for _, made in self.scope.registered or ()))
        ready.add(self._observer(context))
        return found

    def admin_values(self, password: pulumi.Output[str]) -> Mapping[str, pulumi.Input[str]]:
        return {"username": ADMIN, "password": password, "observer": password.apply(observer_password)}

    def configuration(self, context: CapabilityScope) -> Sequence[Manifest]:
        files = pods.config_map(context.namespace, f"{context.capability.name}-scraping", self._files())
        return [files, *_flows(context)]

    def _files(self) -> dict[str, str]:
        """The observer's files: what it scrapes, and whose each namespace is."""
        inputs = self.scope.inputs
        owners = namespaces(inputs.city, inputs.placement, inputs.stack.cloud)
        # JSON is YAML.
        return {
            "scrape.yaml": json.dumps(scraping.configuration(inputs, tls.AUTHORITY), indent=1),
            "namespaces.json": json.dumps(owners, indent=1, sort_keys=True),
        }

    def workload(self, context: CapabilityScope, image: str, admin: str) -> Manifest:
        data: Manifest = {"name": "data", "mountPath": DATA}
        requests, access = context.resources(), context.workload().sidecar("access")
        memory = int(parse_quantity(requests["memory"]))
        store = store_command(memory, int(parse_quantity(context.storage)))
        server = pods.container(
            "metrics",
            image,
            command=["/bin/sh", "-c", f"set -eu\numask 077\n{volume_lock(DATA)}exec {' '.join(store)}"],
            env=[{"name": "GOMEMLIMIT", "value": str(memory * HEAP // 100)}],
            mounts=[data],
            requests=requests,
        )
        ready: Manifest = {
            "httpGet": {"path": "/health", "port": "query", "scheme": "HTTPS" if context.tls else "HTTP"},
            "periodSeconds": 2,
            "timeoutSeconds": 5,
        }
        options = f"-upstream http://127.0.0.1:{STORE_PORT} -accounts {ACCOUNTS}"
        if context.tls:
            options += f" -certificate {tls.CERTIFICATE} -key {tls.KEY}"
        options += f" -listen :{context.type.port} -admin :{ADMIN_PORT}"
        door = pods.container(
            "access",
            image,
            command=[
                "/bin/sh",
                "-c",
                f"set -eu\numask 077\nmkdir -p {ACCOUNTS}\n{volume_lock(ACCOUNTS)}exec metrics-access {options}",
            ],
            env=[
                pods.from_secret("ADMIN_PASSWORD", admin, "password"),
                pods.from_secret("OBSERVER_PASSWORD", admin, "observer"),
            ],
            ports=context.ports,
            mounts=[data, tls.MOUNT] if context.tls else [data],
            requests=access.requests,
            readiness=ready,
            liveness={**ready, "periodSeconds": 10, "failureThreshold": 6},
            startup={**ready, "periodSeconds": 1, "failureThreshold": 120},
        )
        spec = pods.pod(
            [server, door],
            cluster=self.scope.inputs.cluster,
            volumes=[
                {"name": "data", "persistentVolumeClaim": {"claimName": f"{context.capability.name}-data"}},
                *([tls.volume(context)] if context.tls else []),
            ],
            user=USER,
            priority_class=priority_class(self.scope.inputs.city.name, "platform"),
            affinity=context.affinity,
        )
        labels = {**self.scope.labels, **context.selector}
        return stateful_set(context, pods.template(labels, spec, self._digest(context)))

    def _digest(self, context: CapabilityScope, files: Mapping[str, str] = {}) -> pulumi.Output[str]:
        found = secret_value(self.scope.inputs, context.admin_key).apply(
            lambda password: pods.content_digest({"admin": sha256(password), **files})
        )
        return pulumi.Output.unsecret(found)

    def _observer(self, context: CapabilityScope) -> Manifest:
        name, image = context.capability.name, self.scope.inputs.images[context.type.images[0]]
        workload = context.workload("observer")
        state = workload.sidecar("state")
        collector = pods.container(
            "state",
            image,
            command=[
                "metrics-state",
                f"-listen=127.0.0.1:{scraping.STATE_PORT}",
                f"-namespaces={SCRAPING}/namespaces.json",
            ],
            env=[{"name": "GOMEMLIMIT", "value": str(int(parse_quantity(state.memory)) * 9 // 10)}],
            mounts=[{"name": "scraping", "mountPath": SCRAPING, "readOnly": True}],
            requests=state.requests,
        )
        memory = int(parse_quantity(workload.memory))
        # The kubelet cannot ask what listens on the loopback device.
        asked = f"curl --silent --fail --max-time 4 --output /dev/null http://127.0.0.1:{AGENT_PORT}/health"
        agent = pods.container(
            "observer",
            image,
            command=["vmagent", *_agent(context, memory)],
            env=[{"name": "GOMEMLIMIT", "value": str(memory * 9 // 10)}],
            mounts=[
                {"name": "observer", "mountPath": ADMIN_FILES, "readOnly": True},
                {"name": "scraping", "mountPath": SCRAPING, "readOnly": True},
                *([tls.MOUNT] if context.tls else []),
            ],
            requests=workload.requests,
            readiness={"exec": {"command": ["/bin/sh", "-c", asked]}, "periodSeconds": 5, "timeoutSeconds": 5},
        )
        password = {"secretName": f"{name}-admin", "items": [{"key": "observer", "path": "password"}]}
        spec = pods.pod(
            [agent, collector],
            cluster=self.scope.inputs.cluster,
            service_account=context.observer_account,
            token=True,
            volumes=[
                {"name": "observer", "secret": {**password, "defaultMode": 0o440}},
                {"name": "scraping", "configMap": {"name": f"{name}-scraping"}},
                *([tls.authority_volume(name)] if context.tls else []),
            ],
            user=USER,
            priority_class=priority_class(self.scope.inputs.city.name, "platform"),
            affinity=context.affinity,
        )
        labels = {**self.scope.labels, **context.observer_selector}
        content = self._digest(context, self._files())
        return {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": f"{name}-observer", "namespace": context.namespace},
            "spec": {
                "replicas": 1,
                # Two would scrape everything twice.
                "strategy": {"type": "Recreate"},
                "revisionHistoryLimit": 1,
                "selector": {"matchLabels": context.observer_selector},
                "template": pods.template(labels, spec, content),
            },
        }


def observer_password(password: str) -> str:
    """The password of the observer's account, derived from the administrator's password."""
    return sha256(f"observer:{password}")


def store_command(memory: int, storage: int) -> Iterator[str]:
    """The store's command line for a container with this memory and a volume of this size, both in bytes."""
    mebibytes = memory // 1024**2
    yield "victoria-metrics"
    yield f"-storageDataPath={SERIES}"
    yield f"-httpListenAddr=127.0.0.1:{STORE_PORT}"
    yield f"-retentionPeriod={RETENTION}d"
    # Of samples with the same time one is kept, so that what is restored twice counts once.
    yield "-dedup.minScrapeInterval=1ms"
    yield f"-memory.allowedBytes={memory * CACHES // 100}"
    yield f"-storage.maxHourlySeries={mebibytes * HOURLY_SERIES}"
    yield f"-storage.maxDailySeries={mebibytes * DAILY_SERIES}"
    yield f"-storage.minFreeDiskSpaceBytes={min(RESERVE, storage // RESERVED_PART)}"
    # Alerts are evaluated a second after the scrape, not half a minute.
    yield "-search.latencyOffset=1s"
    yield "-search.maxConcurrentRequests=8"
    yield "-search.maxQueryDuration=20s"
    yield f"-search.maxUniqueTimeseries={mebibytes * HOURLY_SERIES}"
    yield f"-search.maxMemoryPerQuery={memory // 8}"
    yield "-selfScrapeInterval=15s"
    yield "-loggerLevel=WARN"


def _agent(context: CapabilityScope, memory: int) -> Iterator[str]:
    """The agent's options. What the store does not take is dropped: a queue would outgrow the pod."""
    scheme = "https" if context.tls else "http"
    host = f"{context.capability.name}.{context.namespace}.svc"
    yield f"-httpListenAddr=127.0.0.1:{AGENT_PORT}"
    yield f"-promscrape.config={SCRAPING}/scrape.yaml"
    yield f"-remoteWrite.url={scheme}://{host}:{context.type.port}/api/v1/write"
    yield f"-remoteWrite.basicAuth.username={OBSERVER}"
    yield f"-remoteWrite.basicAuth.passwordFile={ADMIN_FILES}/password"
    if context.tls:
        yield f"-remoteWrite.tlsCAFile={tls.AUTHORITY}"
    yield "-remoteWrite.tmpDataPath=/tmp/queue"
    yield "-remoteWrite.disableOnDiskQueue"
    yield "-remoteWrite.dropSamplesOnOverload"
    yield "-remoteWrite.queues=1"
    # Each attempt that fails doubles the wait for the next one; rules and canaries wait with it.
    yield "-remoteWrite.retryMaxInterval=10s"
    yield f"-memory.allowedBytes={memory // 2}"
    yield "-promscrape.suppressScrapeErrors"
    yield "-loggerLevel=WARN"


def _flows(context: CapabilityScope) -> Iterator[Manifest]:
    """Yield the network policies from the observer to the store, and to all that serves metrics.

    The other side is opened where the pods are: by the stacks of the capabilities (`component`) and of tenants.
    """
    name, namespace = context.capability.name, context.namespace
    port, observer = context.type.port, context.observer_selector
    inward = network_policies.from_peer({"podSelector": {"matchLabels": observer}}, [port])
    outward = network_policies.to_peer({"podSelector": {"matchLabels": context.selector}}, [port])
    yield network_policies.policy(namespace, naming.fit(f"{name}-from-observer"), context.selector, ingress=[inward])
    rules = [outward]
    for target in scraping.targets(context.scope.inputs):
        rules.append(network_policies.to_peer(network_policies.pods_of(target.namespace, target.pods), [target.port]))
    yield network_policies.policy(namespace, naming.fit(f"{name}-observes"), observer, egress=rules)
