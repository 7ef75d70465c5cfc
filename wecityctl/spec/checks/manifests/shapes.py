"""The kinds of manifests that apps and platforms may have, each a table of its fields.

A field that is not listed here is refused: what they get without saying it, such as their account, nodes and network
policies, cannot be said otherwise. `stacks.manifests` adds it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from wecityctl.model import naming
from wecityctl.model.city import Platform
from wecityctl.model.manifests import default_namespace, namespaces_of
from wecityctl.spec.checks.amounts import MAX_FILES_BYTES
from wecityctl.spec.checks.manifests import pods
from wecityctl.spec.checks.manifests.fields import (
    KEY,
    Checker,
    Path,
    Step,
    Table,
    choice,
    content,
    count_or_percent,
    list_of,
    name,
    port,
    port_or_name,
    qualified,
    quantity,
    schema,
    segment,
    tcp,
    text,
    truth,
    whole,
)
from wecityctl.spec.checks.manifests.labels import LABEL_SELECTOR, SELECTOR, labels, notes
from wecityctl.spec.checks.manifests.reasons import DATA, STAGE, WAY_IN
from wecityctl.spec.fields import one_of
from wecityctl.spec.nodes import Map, Seq, shorten
from wecityctl.spec.schema.schedules import Schedule, TimeZone
from wecityctl.spec.translate import describe

# Longer names than DNS has are refused by the server; where the cluster adds to a name, less is left.
_NAMES: Mapping[str, Step] = {
    "Service": name(letter_first=True),
    "CronJob": name(52, why=": the cluster adds 11 for each run"),
    "StatefulSet": name(52, why=": the cluster adds 11 in a label of the pods"),
}
_COUNT = whole(0, 1000)
_SECONDS = whole()


def metadata(kind: str) -> Step:
    """The metadata of a manifest of this kind."""
    table = Table(
        {"name": _NAMES.get(kind, name()), "namespace": _namespace, "labels": labels, "annotations": notes},
        ("name",),
    )

    def check(checker: Checker, path: Path, value: Any) -> None:
        table(checker, path, value)
        stated = isinstance(value, Map) and "namespace" in value
        if isinstance(checker.owner, Platform) and not stated and not default_namespace(checker.owner):
            message = "the platform has several namespaces, each of a zone"
            checker.refuse(path, message, f"namespace: {one_of(namespaces_of(checker.owner))}", on_key=True)

    return check


def _namespace(checker: Checker, path: Path, value: Any) -> None:
    owner = checker.owner
    if isinstance(owner, Platform):
        if value not in namespaces_of(owner):
            message = f"{describe(value)} is no namespace of the platform's capabilities"
            checker.refuse(path, message, one_of(namespaces_of(owner)))
        return
    ours = naming.tenant_namespace(owner.tenant, owner.zone)
    if value != ours:
        checker.refuse(path, f"{describe(value)} is not the app's namespace", f"{ours}, or no namespace")


# Services

_OUTSIDE = f"a Service is reached within the cluster alone: {WAY_IN}"


def _selects(checker: Checker, path: Path, value: Any) -> None:
    labels(checker, path, value)
    if not value:
        checker.refuse(path, "selects nothing", f"labels of the {checker.word}'s own pods")


def _ports_of_service(checker: Checker, path: Path, found: Map) -> None:
    ports = found.get("ports")
    if not isinstance(ports, Seq):
        return
    if not ports and found.get("clusterIP") != "None":
        checker.refuse((*path, "ports"), "is empty", "at least one")
    for index, item in enumerate(ports):
        if len(ports) > 1 and isinstance(item, Map) and "name" not in item:
            checker.refuse(
                (*path, "ports", index), "has no name, and the Service has several ports", "a `name` for each"
            )


_SERVICE_PORT = Table(
    {"name": name(), "port": port, "targetPort": port_or_name, "protocol": tcp, "appProtocol": qualified},
    ("port",),
    {"nodePort": _OUTSIDE},
)
_SERVICE = Table(
    {
        "type": choice("ClusterIP", note=f"; {_OUTSIDE}"),
        "selector": _selects,
        "ports": list_of(_SERVICE_PORT, "name", "port"),
        "clusterIP": choice("None", note=", or no clusterIP"),
        "publishNotReadyAddresses": truth,
        "sessionAffinity": choice("None", "ClientIP"),
        "internalTrafficPolicy": choice("Cluster", "Local"),
    },
    ("selector", "ports"),
    {
        **dict.fromkeys(
            (
                *("externalIPs", "externalName", "loadBalancerIP", "loadBalancerClass", "loadBalancerSourceRanges"),
                *("externalTrafficPolicy", "healthCheckNodePort", "allocateLoadBalancerNodePorts"),
            ),
            _OUTSIDE,
        ),
        **dict.fromkeys(("clusterIPs", "ipFamilies", "ipFamilyPolicy"), "the cluster gives addresses"),
    },
    rules=(_ports_of_service,),
)

# Deployments and StatefulSets


def _moves(checker: Checker, path: Path, found: Map) -> None:
    """A rolling update needs a pod more or a pod less."""
    if all(found.get(key) in (0, "0%") for key in ("maxUnavailable", "maxSurge")):
        checker.refuse((*path, "maxUnavailable"), "no pod may be added and none may be missing", "one of both above 0")


def _progress(checker: Checker, path: Path, found: Map) -> None:
    ready, deadline = found.get("minReadySeconds", 0), found.get("progressDeadlineSeconds", 600)
    if isinstance(ready, int) and isinstance(deadline, int) and deadline <= ready:
        at = "progressDeadlineSeconds" if "progressDeadlineSeconds" in found else "minReadySeconds"
        message = f"pods have {deadline} seconds to become ready, and must be ready for {ready}"
        checker.refuse((*path, at), message, "a progressDeadlineSeconds above minReadySeconds")


def _selected(checker: Checker, path: Path, found: Map) -> None:
    """The selector finds the pods of its own template."""
    wanted = _at(found, "selector", "matchLabels")
    given = _at(found, "template", "metadata", "labels")
    if not isinstance(wanted, Map) or not isinstance(found.get("template"), Map):
        return
    for key, item in wanted.items():
        if not isinstance(given, Map) or given.get(key) != item:
            here = (*path, "selector", "matchLabels", key)
            checker.refuse(here, "the template's pods have no such label", "a label under template.metadata.labels")


def _at(value: Any, *keys: str) -> Any:
    for key in keys:
        value = value.get(key) if isinstance(value, Map) else None
    return value


_ROLLING = Table({"maxUnavailable": count_or_percent(100), "maxSurge": count_or_percent()}, rules=(_moves,))
_PODS_THAT_RUN: Mapping[str, Step] = {
    "replicas": _COUNT,
    "selector": SELECTOR,
    "template": pods.template("Always"),
    "minReadySeconds": _SECONDS,
    "revisionHistoryLimit": whole(),
}
_DEPLOYMENT = Table(
    {
        **_PODS_THAT_RUN,
        "strategy": Table({"type": choice("RollingUpdate", "Recreate"), "rollingUpdate": _ROLLING}),
        "progressDeadlineSeconds": whole(1),
    },
    ("selector", "template"),
    {"paused": "an update that waits for somebody would never end"},
    rules=(_progress, _selected),
)


def _update(checker: Checker, path: Path, found: Map) -> None:
    if found.get("type") == "OnDelete" and "rollingUpdate" in found:
        expected = "no rollingUpdate, or type RollingUpdate"
        checker.refuse((*path, "rollingUpdate"), "OnDelete replaces no pods", expected, on_key=True)


_STATEFUL_SET = Table(
    {
        **_PODS_THAT_RUN,
        "serviceName": name(letter_first=True),
        "podManagementPolicy": choice("OrderedReady", "Parallel"),
        "updateStrategy": Table(
            {
                "type": choice("RollingUpdate", "OnDelete"),
                "rollingUpdate": Table({"partition": whole(), "maxUnavailable": count_or_percent(100, 1)}),
            },
            rules=(_update,),
        ),
    },
    ("selector", "template"),
    dict.fromkeys(("volumeClaimTemplates", "persistentVolumeClaimRetentionPolicy"), DATA),
    rules=(_selected,),
)

# Jobs


def _exit_codes(checker: Checker, path: Path, found: Map) -> None:
    values = found.get("values")
    if not isinstance(values, Seq):
        return
    numbers = [item for item in values if isinstance(item, int)]
    if numbers != sorted(set(numbers)):
        checker.refuse((*path, "values"), "is not in order, or has a number twice", "each once, the smallest first")
    if found.get("operator") == "In" and 0 in numbers:
        checker.refuse((*path, "values", values.index(0)), "0 is success", "exit codes of failures")


_CONDITION = Table({"type": qualified, "status": choice("True", "False", "Unknown")}, ("type",))
_EXIT_CODES = Table(
    {
        "containerName": text,
        "operator": choice("In", "NotIn"),
        "values": list_of(whole(0), least=1, most=255),
    },
    ("operator", "values"),
    rules=(_exit_codes,),
)
_FAILURE = Table(
    {
        "action": choice("FailJob", "Ignore", "Count"),
        "onExitCodes": _EXIT_CODES,
        "onPodConditions": list_of(_CONDITION, least=1, most=20),
    },
    ("action",),
    one=("onExitCodes", "onPodConditions"),
)


def _job_as_a_whole(checker: Checker, path: Path, found: Map) -> None:
    if found.get("completionMode") == "Indexed" and "completions" not in found:
        checker.refuse(path, "completionMode Indexed is given without `completions`", "the number of pods", on_key=True)
    template = found.get("template")
    template = template if isinstance(template, Map) else Map(found.start)
    stated = template.get("metadata")
    given = stated.get("labels") if isinstance(stated, Map) else None
    for label in ("job-name", "controller-uid"):
        if isinstance(given, Map) and label in given:
            at = (*path, "template", "metadata", "labels", label)
            checker.refuse(at, f"{label} cannot be set: the cluster sets it", on_key=True)
    spec = template.get("spec")
    policy = found.get("podFailurePolicy")
    if not isinstance(spec, Map) or not isinstance(policy, Map):
        return
    if spec.get("restartPolicy") == "OnFailure":
        expected = "Never, as podFailurePolicy is given"
        checker.given((*path, "template", "spec", "restartPolicy"), spec["restartPolicy"], expected)
    rules = policy.get("rules")
    known = pods.container_names(spec)
    for index, rule in enumerate(rules if isinstance(rules, Seq) else ()):
        codes = rule.get("onExitCodes") if isinstance(rule, Map) else None
        wanted = codes.get("containerName") if isinstance(codes, Map) else None
        if isinstance(wanted, str) and wanted not in known:
            at = (*path, "podFailurePolicy", "rules", index, "onExitCodes", "containerName")
            pods.unknown(checker, at, wanted, "container of these pods", "containers", known)


_JOB = Table(
    {
        "template": pods.template("Never", "OnFailure"),
        "parallelism": _COUNT,
        "completions": _COUNT,
        "backoffLimit": whole(),
        "activeDeadlineSeconds": whole(1),
        "completionMode": choice("NonIndexed", "Indexed"),
        "podFailurePolicy": Table({"rules": list_of(_FAILURE, most=20)}, ("rules",)),
    },
    ("template",),
    {
        "ttlSecondsAfterFinished": "a Job that is gone would be made again by each `up`",
        **dict.fromkeys(("selector", "manualSelector"), "the cluster sets it"),
        "suspend": STAGE,
    },
    rules=(_job_as_a_whole,),
)
_CRON_JOB = Table(
    {
        "schedule": schema(Schedule),
        "jobTemplate": Table({"spec": _JOB, "metadata": pods.LABELLED}, ("spec",)),
        "timeZone": schema(TimeZone),
        "concurrencyPolicy": choice("Allow", "Forbid", "Replace"),
        "startingDeadlineSeconds": whole(),
        "successfulJobsHistoryLimit": whole(),
        "failedJobsHistoryLimit": whole(),
    },
    ("schedule", "jobTemplate"),
    {"suspend": STAGE},
)

# Autoscalers and disruption budgets


def _target(*types: str) -> Table:
    """What a metric is held at: the value that its `type` names."""
    values: Mapping[str, tuple[str, Step]] = {
        "Utilization": ("averageUtilization", whole(1)),
        "Value": ("value", quantity),
        "AverageValue": ("averageValue", quantity),
    }

    def agrees(checker: Checker, path: Path, found: Map) -> None:
        wanted = values.get(str(found.get("type")), ("",))[0]
        for key in found:
            if found.get("type") in types and key not in ("type", wanted) and key in fields:
                message = f"{key} is given with type {found['type']}"
                checker.refuse((*path, key), message, wanted, on_key=True)

    fields = dict(values[item] for item in types)
    return Table({"type": choice(*types), **fields}, ("type",), one=tuple(fields), rules=(agrees,))


_METRIC = Table({"name": segment, "selector": LABEL_SELECTOR}, ("name",))
_RESOURCE: Mapping[str, Step] = {"name": choice("cpu", "memory"), "target": _target("Utilization", "AverageValue")}
_OBJECT = Table({"apiVersion": text, "kind": segment, "name": name(253)}, ("kind", "name"))
# A metric of a type has its description in the field of that name.
_METRICS: Mapping[str, tuple[str, Step]] = {
    "Resource": ("resource", Table(_RESOURCE, ("name", "target"))),
    "ContainerResource": (
        "containerResource",
        Table({**_RESOURCE, "container": name()}, ("name", "target", "container")),
    ),
    "Pods": ("pods", Table({"metric": _METRIC, "target": _target("AverageValue")}, ("metric", "target"))),
    "Object": (
        "object",
        Table(
            {"describedObject": _OBJECT, "metric": _METRIC, "target": _target("Value", "AverageValue")},
            ("describedObject", "metric", "target"),
        ),
    ),
    "External": (
        "external",
        Table({"metric": _METRIC, "target": _target("Value", "AverageValue")}, ("metric", "target")),
    ),
}


def _metric_agrees(checker: Checker, path: Path, found: Map) -> None:
    wanted = _METRICS.get(str(found.get("type")), ("",))[0]
    given = [key for key in found if key in {item for item, _ in _METRICS.values()}]
    if wanted and len(given) == 1 and given != [wanted]:
        checker.refuse((*path, given[0]), f"{given[0]} is given with type {found['type']}", wanted, on_key=True)


_METRIC_FIELDS = dict(_METRICS.values())
_SCALING = Table(
    {
        "stabilizationWindowSeconds": whole(0, 3600),
        "selectPolicy": choice("Max", "Min", "Disabled"),
        "policies": list_of(
            Table(
                {"type": choice("Pods", "Percent"), "value": whole(1), "periodSeconds": whole(1, 1800)},
                ("type", "value", "periodSeconds"),
            ),
            least=1,
        ),
    }
)


def _bounds(checker: Checker, path: Path, found: Map) -> None:
    least, most = found.get("minReplicas", 1), found.get("maxReplicas")
    if isinstance(least, int) and isinstance(most, int) and 0 < most < least:
        checker.refuse((*path, "maxReplicas"), f"{most} is less than minReplicas, {least}", f"{least} or more")


def _scaled(checker: Checker, path: Path, value: Any) -> None:
    if value not in ("Deployment", "StatefulSet"):
        checker.given(path, value, "a Deployment or StatefulSet; a component has `autoscale`")


_SCALED = Table(
    {"apiVersion": choice("apps/v1"), "kind": _scaled, "name": name()},
    ("apiVersion", "kind", "name"),
)
_AUTOSCALER = Table(
    {
        "scaleTargetRef": _SCALED,
        "minReplicas": whole(1, 1000),
        "maxReplicas": whole(1, 1000),
        "metrics": list_of(
            Table(
                {"type": choice(*_METRICS), **_METRIC_FIELDS},
                ("type",),
                one=tuple(_METRIC_FIELDS),
                rules=(_metric_agrees,),
            )
        ),
        "behavior": Table({"scaleUp": _SCALING, "scaleDown": _SCALING}),
    },
    ("scaleTargetRef", "maxReplicas"),
    rules=(_bounds,),
)


def _one_bound(checker: Checker, path: Path, found: Map) -> None:
    if "minAvailable" in found and "maxUnavailable" in found:
        expected = "only one of minAvailable, maxUnavailable"
        checker.refuse((*path, "maxUnavailable"), "minAvailable and maxUnavailable are given", expected, on_key=True)


_BUDGET = Table(
    {
        "selector": SELECTOR,
        "minAvailable": count_or_percent(100),
        "maxUnavailable": count_or_percent(100),
        "unhealthyPodEvictionPolicy": choice("IfHealthyBudget", "AlwaysAllow"),
    },
    ("selector",),
    rules=(_one_bound,),
)

# Files of a ConfigMap


def _files(step: Step) -> Step:
    """The files of a ConfigMap by name, each of which `step` checks, and the size of all together."""

    def check(checker: Checker, path: Path, value: Any) -> None:
        size = 0
        for key, item in checker.mapping(path, value).items():
            if not KEY.fullmatch(key):
                expected = "at most 253 letters, digits, '.', '_' and '-', not beginning with '..'"
                checker.refuse((*path, key), f"{shorten(key)!r} is not a key of a ConfigMap", expected, on_key=True)
            step(checker, (*path, key), item)
            size += len(key) + (len(item.encode(errors="replace")) if isinstance(item, str) else 0)
        if size > MAX_FILES_BYTES:
            message = f"the texts are too large together: {size:,} bytes"
            checker.refuse(path, message, f"at most {MAX_FILES_BYTES:,}", on_key=True)

    return check


# What a manifest of each kind has beside apiVersion, kind and metadata.
OWN_FIELDS: Mapping[str, Mapping[str, Step]] = {
    "ConfigMap": {"data": _files(text), "binaryData": _files(content), "immutable": truth},
    "Service": {"spec": _SERVICE},
    "Deployment": {"spec": _DEPLOYMENT},
    "StatefulSet": {"spec": _STATEFUL_SET},
    "Job": {"spec": _JOB},
    "CronJob": {"spec": _CRON_JOB},
    "HorizontalPodAutoscaler": {"spec": _AUTOSCALER},
    "PodDisruptionBudget": {"spec": _BUDGET},
}
