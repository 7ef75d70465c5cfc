"""What `validate` passes as an app's manifest, the API server takes, and what is wrong in the table both refuse.

Each field of each kind is replaced by values of every type, is left out, and is given twice where it is in a list;
whatever the checks let pass of it is sent to a real API server as the stacks render it.
"""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from stacks.catalogue import load_catalogue
from stacks.manifests import of_app, rendered
from tests.stacks.cities import app, city, inputs_for
from tests.support.control_plane import ControlPlane
from tests.validate.recorded import NAMESPACE, Manifest, pod_of, sendable
from wecityctl.kube.client import KubeClient
from wecityctl.kube.config import load_access
from wecityctl.kube.errors import ApiError
from wecityctl.kube.transport import HttpPool
from wecityctl.model.city import KubernetesManifest, Use
from wecityctl.plan import make_plan
from wecityctl.spec.checks.manifests import document_problems
from wecityctl.spec.manifest_files import plain
from wecityctl.spec.nodes import Document, Map, Mark, Seq, Unquoted
from wecityctl.spec.scalars import NUMBER

KINDS = {
    item["kind"]: item
    for item in yaml.safe_load_all(Path(__file__).with_name("every_field.yaml").read_text(encoding="utf-8"))
}
OWNER = app("code", uses=(Use("postgresql", "postgresql"),))
# Values of every type, some of which fit.
ODD = ("", "X y", "a/b", "50%", 0, -1, 2**31, True, ["x"], {"x": "y"}, 0.5)
AT_ONCE = 32
POD = ("spec", "template", "spec")
FIRST = (*POD, "containers", 0)
ENV = (*FIRST, "env")
MISSING = object()

Way = tuple[str | int, ...]
# What both refuse: the kind, and the values that are put into its manifest.
REFUSED: Sequence[tuple[str, dict[Way, Any]]] = (
    ("Deployment", {(*POD, "containers", 1, "name"): "queue"}),
    ("Deployment", {(*POD, "initContainers", 0, "name"): "queue"}),
    ("Deployment", {(*FIRST, "ports", 1, "containerPort"): 5672}),
    ("Deployment", {(*FIRST, "ports", 1, "name"): "amqp"}),
    ("Deployment", {(*ENV, 1, "name"): "MODE"}),
    ("Deployment", {(*ENV, 1, "value"): "both"}),
    ("Deployment", {(*ENV, 0, "name"): "A=B"}),
    ("Deployment", {(*ENV, 3, "valueFrom", "fieldRef", "fieldPath"): "spec.containers"}),
    ("Deployment", {(*ENV, 3, "valueFrom", "fieldRef", "fieldPath"): "metadata.labels['a b']"}),
    ("Deployment", {(*ENV, 4, "valueFrom", "resourceFieldRef", "divisor"): "3"}),
    ("Deployment", {(*FIRST, "command"): "sh -c x"}),
    ("Deployment", {(*FIRST, "args"): ["-p", 80]}),
    ("Deployment", {(*FIRST, "imagePullPolicy"): "always"}),
    ("Deployment", {(*FIRST, "terminationMessagePolicy"): "Never"}),
    ("Deployment", {(*FIRST, "readinessProbe", "tcpSocket"): {"port": 1}}),
    ("Deployment", {(*FIRST, "readinessProbe", "httpGet"): MISSING}),
    ("Deployment", {(*FIRST, "readinessProbe", "httpGet", "port"): 70000}),
    ("Deployment", {(*FIRST, "livenessProbe", "successThreshold"): 2}),
    ("Deployment", {(*FIRST, "lifecycle", "preStop", "sleep", "seconds"): 41}),
    ("Deployment", {(*FIRST, "volumeMounts", 0, "name"): "nope"}),
    ("Deployment", {(*FIRST, "volumeMounts", 1, "mountPath"): "/rules"}),
    ("Deployment", {(*FIRST, "volumeMounts", 0, "readOnly"): MISSING}),
    ("Deployment", {(*FIRST, "resources", "requests", "memory"): "1Gi"}),
    ("Deployment", {(*POD, "volumes", 1, "name"): "rules"}),
    ("Deployment", {(*POD, "volumes", 0, "configMap", "defaultMode"): 644}),
    ("Deployment", {(*POD, "volumes", 0, "configMap", "items", 0, "path"): "../up"}),
    ("Deployment", {(*POD, "restartPolicy"): "Never"}),
    ("Deployment", {(*POD, "activeDeadlineSeconds"): 10}),
    ("Deployment", {(*POD, "hostname"): "a.b"}),
    ("Deployment", {(*POD, "securityContext", "fsGroup"): -1}),
    ("Deployment", {(*POD, "topologySpreadConstraints", 0, "whenUnsatisfiable"): "ScheduleAnyway"}),
    ("Deployment", {(*POD, "containers"): []}),
    ("Deployment", {("spec", "strategy", "rollingUpdate"): {"maxSurge": 0, "maxUnavailable": "0%"}}),
    ("Deployment", {("spec", "strategy", "rollingUpdate", "maxUnavailable"): "150%"}),
    ("Deployment", {("spec", "minReadySeconds"): 100}),
    ("StatefulSet", {("spec", "updateStrategy", "type"): "OnDelete"}),
    ("StatefulSet", {("spec", "podManagementPolicy"): "Ordered"}),
    ("Job", {(*POD, "restartPolicy"): MISSING}),
    ("Job", {(*POD, "restartPolicy"): "Always"}),
    ("Job", {(*POD, "restartPolicy"): "OnFailure"}),
    ("Job", {("spec", "completions"): MISSING}),
    ("Job", {("spec", "podFailurePolicy", "rules", 0, "onExitCodes", "containerName"): "other"}),
    ("Job", {("spec", "podFailurePolicy", "rules", 0, "onExitCodes", "values"): [42, 1]}),
    ("Job", {("spec", "podFailurePolicy", "rules", 0, "onExitCodes", "values"): [0]}),
    ("Job", {("spec", "podFailurePolicy", "rules", 0, "onPodConditions"): [{"type": "Ready", "status": "True"}]}),
    ("CronJob", {("metadata", "name"): "a" * 53}),
    ("CronJob", {("spec", "schedule"): "0 3 * * 8"}),
    ("CronJob", {("spec", "schedule"): "often"}),
    ("CronJob", {("spec", "timeZone"): "CST"}),
    ("CronJob", {("spec", "concurrencyPolicy"): "Never"}),
    ("CronJob", {("spec", "jobTemplate", "spec", "template", "spec", "restartPolicy"): MISSING}),
    ("Service", {("spec", "ports", 1, "name"): MISSING}),
    ("Service", {("spec", "ports", 1, "name"): "amqp"}),
    ("Service", {("spec", "ports", 1, "port"): 5672}),
    ("Service", {("spec", "ports", 0, "targetPort"): "a-name-of-seventeen"}),
    ("Service", {("spec", "sessionAffinity"): "Always"}),
    ("Service", {("spec", "ports"): [], ("spec", "clusterIP"): MISSING}),
    ("HorizontalPodAutoscaler", {("spec", "maxReplicas"): 1}),
    ("HorizontalPodAutoscaler", {("spec", "minReplicas"): 0}),
    ("HorizontalPodAutoscaler", {("spec", "metrics", 0, "type"): "Cpu"}),
    ("HorizontalPodAutoscaler", {("spec", "metrics", 0, "type"): "Pods"}),
    ("HorizontalPodAutoscaler", {("spec", "metrics", 0, "resource", "target", "averageUtilization"): 0}),
    ("HorizontalPodAutoscaler", {("spec", "metrics", 0, "resource", "target", "averageValue"): "1"}),
    ("HorizontalPodAutoscaler", {("spec", "behavior", "scaleUp", "policies"): []}),
    ("HorizontalPodAutoscaler", {("spec", "behavior", "scaleUp", "policies", 0, "periodSeconds"): 1801}),
    ("PodDisruptionBudget", {("spec", "minAvailable"): 1}),
    ("PodDisruptionBudget", {("spec", "maxUnavailable"): "101%"}),
    ("PodDisruptionBudget", {("spec", "unhealthyPodEvictionPolicy"): "Never"}),
    ("ConfigMap", {("binaryData", "rules.bin"): "no base64"}),
    ("ConfigMap", {("immutable",): "true"}),
)
# What both take.
TAKEN: Sequence[tuple[str, dict[Way, Any]]] = (
    *((kind, {}) for kind in KINDS),
    ("Deployment", {("spec", "strategy", "rollingUpdate"): {"maxSurge": "150%"}}),
    ("Deployment", {(*POD, "volumes", 1, "emptyDir"): {}}),
    ("Deployment", {(*POD, "initContainers"): [], (*POD, "topologySpreadConstraints"): []}),
    ("Deployment", {(*ENV, 3, "valueFrom", "fieldRef", "fieldPath"): "metadata.labels['example.org/team']"}),
    ("Deployment", {(*ENV, 0, "name"): "B-C.d", (*ENV, 0, "value"): "$(X)"}),
    ("Deployment", {(*FIRST, "resources"): {"limits": {"cpu": 2}}, (*FIRST, "readinessProbe", "httpGet", "port"): 80}),
    (
        "Job",
        {("metadata", "name"): "a" * 63, ("spec", "podFailurePolicy"): MISSING, (*POD, "restartPolicy"): "OnFailure"},
    ),
    ("CronJob", {("metadata", "name"): "a" * 52, ("spec", "timeZone"): "Etc/UTC", ("spec", "schedule"): "@daily"}),
    ("Service", {("metadata", "name"): "a" * 63, ("spec", "ports", 0, "targetPort"): MISSING}),
    ("PodDisruptionBudget", {("spec", "maxUnavailable"): MISSING, ("spec", "minAvailable"): "50%"}),
)


def changed(kind: str, changes: dict[Way, Any]) -> Manifest:
    """The manifest of a kind with other values; `MISSING` takes one away."""
    result: Manifest = copy.deepcopy(KINDS[kind])
    for way, value in changes.items():
        *outer, last = way
        node: Any = result
        for item in outer:
            node = node[item]
        if value is MISSING:
            del node[last]
        elif isinstance(node, list) and last == len(node):
            node.append(copy.deepcopy(value))
        else:
            node[last] = copy.deepcopy(value)
    return result


def ways(value: Any, so_far: Way = ()) -> Iterator[tuple[Way, Any]]:
    """Yield everything in a manifest with the way to it."""
    for key, item in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        yield (*so_far, key), item
        yield from ways(item, (*so_far, key))


def variants() -> Iterator[tuple[str, dict[Way, Any]]]:
    """Yield the changes of one field at a time, of the first that a list has."""
    seen: set[tuple[str, Way]] = set()
    for kind, manifest in KINDS.items():
        for way, value in ways(manifest):
            if way[0] in ("apiVersion", "kind"):
                continue
            names = tuple(item for item in way if isinstance(item, str))
            if (kind, names) in seen and not isinstance(value, dict | list):
                continue
            seen.add((kind, names))
            yield kind, {way: MISSING}
            yield from ((kind, {way: odd}) for odd in ODD)
            if isinstance(value, list):
                yield from ((kind, {(*way, len(value)): item}) for item in value)


def tree(value: Any) -> Any:
    """The value as it is read from a file, each thing at a place of its own."""
    found: Any
    if isinstance(value, dict):
        found = Map(Mark(1, 1))
        for key, item in value.items():
            found[key] = tree(item)
            found.keys_at[key] = found.values_at[key] = Mark(1, 1)
        return found
    if isinstance(value, list):
        found = Seq(Mark(1, 1))
        found += [tree(item) for item in value]
        found.items_at += [Mark(1, 1)] * len(value)
        return found
    return Unquoted(NUMBER, str(value)) if isinstance(value, float) else value


class Server:
    """Sends what the checks pass, and tells what the server refuses."""

    def __init__(self, client: KubeClient) -> None:
        self.client = client
        self.free = asyncio.Semaphore(AT_ONCE)
        plan = make_plan(city(OWNER), load_catalogue())
        inputs = inputs_for(plan, "xc.tenant.health.main", {})
        self.given = of_app(inputs, OWNER, {"example.org/city": "xc"}, {"app.kubernetes.io/name": "code"})

    async def refusal(self, manifest: Manifest, *, with_pod: bool = False) -> str:
        """Why the server refuses a manifest as the stacks render it, or a pod of it; empty if it takes it."""
        whole = sendable(rendered(self.given, KubernetesManifest("own.yaml", plain(tree(manifest)))))
        pod = pod_of(whole)
        async with self.free:
            for item in (whole, pod) if pod is not None and with_pod else (whole,):
                try:
                    await self.client.apply(
                        item, field_manager="validate-test", dry_run=True, field_validation="Strict", force=True
                    )
                except ApiError as error:
                    return error.message or "refused"
        return ""


def problems(manifest: Manifest) -> list[str]:
    """What the checks say against a manifest."""
    return [str(item) for item in document_problems(OWNER, Document("own.yaml", Mark(1, 1), tree(manifest)))]


@pytest.mark.cluster
async def test_the_server_agrees(api_server: ControlPlane) -> None:
    async with HttpPool() as pool, KubeClient(load_access(api_server.kubeconfig_text), pool) as client:
        for item in (
            {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}},
            {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default", "namespace": NAMESPACE}},
        ):
            await client.apply(item, field_manager="validate-test")
        server = Server(client)
        wrong: list[str] = []

        async def judge(kind: str, changes: dict[Way, Any], taken: bool | None) -> None:
            manifest = changed(kind, changes)
            found = problems(manifest)
            what = f"{kind} {changes}"
            if taken is None:
                refusal = "" if found else await server.refusal(manifest)
                sent.append(not found)
                wrong.extend([f"{what}: passed, but {refusal}"] if refusal else [])
                return
            refusal = await server.refusal(manifest, with_pod=True)
            if taken == bool(found):
                wrong.append(f"{what}: validate says {found}")
            if taken == bool(refusal):
                wrong.append(f"{what}: the server says {refusal or 'yes'}")

        sent: list[bool] = []
        table = [*((item, False) for item in REFUSED), *((item, True) for item in TAKEN)]
        await asyncio.gather(*(judge(*item, taken) for item, taken in table))
        await asyncio.gather(*(judge(*item, None) for item in variants()))
    print(f"{len(table)} in the table; {sum(sent)} of {len(sent)} variants passed")
    assert not wrong, f"{len(wrong)} wrong:\n" + "\n".join(sorted(wrong)[:80])
    assert sum(sent) > 300
