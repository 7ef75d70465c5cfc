"""Pods in manifests: containers, probes, volumes and security contexts, each a table of its fields."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from wecityctl.guesses import nearest
from wecityctl.model.images import BUILT_HOST
from wecityctl.model.manifests import ARCHITECTURE_LABEL
from wecityctl.paths import recipe_names
from wecityctl.spec.checks.manifests.fields import (
    Checker,
    Path,
    Step,
    Table,
    amount_of,
    choice,
    filled,
    header,
    list_of,
    name,
    port,
    port_name,
    port_or_name,
    qualified,
    quantity,
    quoted,
    tcp,
    text,
    truth,
    variable,
    whole,
    words,
)
from wecityctl.spec.checks.manifests.labels import LABEL_SELECTOR, labels, notes
from wecityctl.spec.checks.manifests.reasons import ACCOUNT, DATA, HOST, NODES, PRIORITY
from wecityctl.spec.checks.manifests.references import (
    AMOUNTS,
    KEY,
    OF_METADATA,
    OF_POD,
    field_of_pod,
    let,
    maps,
    resource,
    secret,
)
from wecityctl.spec.checks.manifests.volumes import VOLUME
from wecityctl.spec.fields import one_of
from wecityctl.spec.nodes import Map, PathItem, Seq, shorten
from wecityctl.spec.schema.names import image_fault
from wecityctl.spec.translate import describe

_CATALOGUE = "catalogue:"
_RESTRICTED = "the restricted Pod Security Standard"
_DEFAULT_GRACE = 30
_ID = whole()


def unknown(checker: Checker, path: Path, wanted: str, what: str, where: str, known: Iterable[str]) -> None:
    """Refuse a reference to what is not there; `where` is the field whose entries are `known`."""
    names = tuple(dict.fromkeys(known))
    checker.refuse(
        path,
        f"{shorten(wanted)!r} is no {what}",
        one_of(names) if names else f"one in `{where}`, where there is none",
        nearest(wanted, names),
    )


def containers_of(spec: Map) -> Iterator[tuple[tuple[PathItem, ...], Map]]:
    """Yield the containers of a pod, init containers first, each with its path in the pod's spec."""
    for where in ("initContainers", "containers"):
        listed = spec.get(where)
        for index, item in enumerate(listed if isinstance(listed, Seq) else ()):
            if isinstance(item, Map):
                yield (where, index), item


def container_names(spec: Map) -> tuple[str, ...]:
    """The names of the containers of a pod."""
    return tuple(str(item["name"]) for _, item in containers_of(spec) if "name" in item)


# Security contexts: what they loosen; what they leave out is restricted.


def _no_root(checker: Checker, path: Path, value: Any) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 < value < 2**31:
        checker.given(path, value, "a number above 0: no process is root's")


def _only(wanted: bool) -> Step:
    def check(checker: Checker, path: Path, value: Any) -> None:
        if value is not wanted:
            checker.given(path, value, f"{str(wanted).lower()}: {_RESTRICTED}")

    return check


def _profile(checker: Checker, path: Path, value: Any) -> None:
    if not isinstance(value, Map) or dict(value) != {"type": "RuntimeDefault"}:
        checker.refuse(path, "this profile is not restricted", "{type: RuntimeDefault}, or none")


def _drops_all(checker: Checker, path: Path, found: Map) -> None:
    added, dropped = found.get("add"), found.get("drop")
    if isinstance(added, Seq) and any(each != "NET_BIND_SERVICE" for each in added):
        checker.refuse((*path, "add"), "adds capabilities", f"NET_BIND_SERVICE at the most: {_RESTRICTED}")
    if not isinstance(dropped, Seq) or "ALL" not in dropped:
        checker.refuse(path, "does not drop all capabilities", f"drop: [ALL]: {_RESTRICTED}")


def _loosened(checker: Checker, path: Path, found: Map) -> None:
    for each in ("seLinuxOptions", "appArmorProfile", "windowsOptions", "procMount", "sysctls"):
        if each in found:
            checker.refuse((*path, each), f"{each} cannot be set", _RESTRICTED, on_key=True)


_OF_BOTH: Mapping[str, Step] = {
    "runAsUser": _no_root,
    "runAsGroup": _ID,
    "runAsNonRoot": _only(wanted=True),
    "seccompProfile": _profile,
    **dict.fromkeys(("seLinuxOptions", "appArmorProfile", "windowsOptions"), let),
}
_POD_SECURITY = Table(
    {
        **_OF_BOTH,
        "fsGroup": _ID,
        "fsGroupChangePolicy": choice("OnRootMismatch", "Always"),
        "supplementalGroups": list_of(_ID),
        "supplementalGroupsPolicy": choice("Merge", "Strict"),
        "sysctls": let,
    },
    rules=(_loosened,),
)
_SECURITY = Table(
    {
        **_OF_BOTH,
        **dict.fromkeys(("privileged", "allowPrivilegeEscalation"), _only(wanted=False)),
        "readOnlyRootFilesystem": truth,
        "capabilities": Table({"add": list_of(text), "drop": list_of(text)}, rules=(_drops_all,)),
        "procMount": let,
    },
    rules=(_loosened,),
)

# Variables

_VALUE_FROM_FIELDS: Mapping[str, Step] = {
    "configMapKeyRef": Table(KEY, ("name", "key")),
    "fieldRef": field_of_pod(*OF_METADATA, *OF_POD),
    "resourceFieldRef": resource(),
    "secretKeyRef": Table({**KEY, "name": let}, ("key",), rules=(secret("name"),)),
}
_VALUE_FROM = Table(_VALUE_FROM_FIELDS, one=tuple(_VALUE_FROM_FIELDS))


def _one_value(checker: Checker, path: Path, found: Map) -> None:
    if found.get("value") and "valueFrom" in found:
        checker.refuse((*path, "valueFrom"), "value and valueFrom are given", "only one of both", on_key=True)


_VARIABLE = Table({"name": variable, "value": quoted, "valueFrom": _VALUE_FROM}, ("name",), rules=(_one_value,))
_SOURCES: Mapping[str, Step] = {
    "configMapRef": Table({"name": name(253), "optional": truth}, ("name",)),
    "secretRef": Table({"name": let, "optional": truth}, rules=(secret("name"),)),
}
_SOURCE = Table({**_SOURCES, "prefix": variable}, one=tuple(_SOURCES))

# Probes

_EXEC = Table({"command": list_of(quoted, least=1)}, ("command",))


def _no_host(checker: Checker, path: Path, value: Any) -> None:
    checker.refuse(path, "the node would ask another host", "no host: the pod", on_key=True)


_HANDLERS: Mapping[str, Step] = {
    "exec": _EXEC,
    "httpGet": Table(
        {
            "path": text,
            "port": port_or_name,
            "scheme": choice("HTTP", "HTTPS"),
            "httpHeaders": list_of(Table({"name": header, "value": quoted}, ("name", "value"))),
            "host": _no_host,
        },
        ("port",),
    ),
    "tcpSocket": Table({"port": port_or_name, "host": _no_host}, ("port",)),
}


def _probe(successes: int, **more: Step) -> Table:
    handlers: Mapping[str, Step] = {**_HANDLERS, "grpc": Table({"port": port, "service": text}, ("port",))}
    timing: dict[str, Step] = {
        "initialDelaySeconds": whole(),
        "periodSeconds": whole(1),
        "timeoutSeconds": whole(1),
        "failureThreshold": whole(1),
        "successThreshold": whole(1, successes),
    }
    return Table({**handlers, **timing, **more}, one=tuple(handlers))


_PROBES: Mapping[str, Step] = {
    "readinessProbe": _probe(2**31 - 1),
    **dict.fromkeys(("livenessProbe", "startupProbe"), _probe(1, terminationGracePeriodSeconds=whole(1))),
}
_HOOKS: Mapping[str, Step] = {**_HANDLERS, "sleep": Table({"seconds": whole(1)}, ("seconds",))}
_HOOK = Table(_HOOKS, one=tuple(_HOOKS))

# Containers


def _image(checker: Checker, path: Path, value: Any) -> None:
    if not isinstance(value, str):
        checker.given(path, value, "an image reference")
    elif fault := image_fault(value):
        checker.refuse(path, fault[0], fault[1])
    elif value.startswith(_CATALOGUE) and value.removeprefix(_CATALOGUE) not in recipe_names():
        checker.refuse(path, f"there is no image {value.removeprefix(_CATALOGUE)!r} of our own", one_of(recipe_names()))
    elif value.lower().startswith(f"{BUILT_HOST}/"):
        checker.refuse(path, f"no registry serves {BUILT_HOST}", f"{_CATALOGUE}NAME, or an image in a registry")


def _amounts(checker: Checker, path: Path, value: Any) -> None:
    for each, amount in checker.mapping(path, value).items():
        if each not in AMOUNTS:
            expected = "cpu, memory or ephemeral-storage; accelerators are asked for by components"
            checker.refuse((*path, each), f"unknown resource {shorten(each)!r}", expected, on_key=True)
        else:
            quantity(checker, (*path, each), amount)


def _within_limits(checker: Checker, path: Path, found: Map) -> None:
    requests, limits = found.get("requests"), found.get("limits")
    if not isinstance(requests, Map) or not isinstance(limits, Map):
        return
    for each in requests:
        asked, most = amount_of(requests[each]), amount_of(limits.get(each, ""))
        if asked is not None and most is not None and asked > most:
            message = f"{requests[each]} is more than the limit, {limits[each]}"
            checker.refuse((*path, "requests", each), message, f"{limits[each]} at the most")


def _read_only(checker: Checker, path: Path, found: Map) -> None:
    wanted = found.get("recursiveReadOnly")
    if wanted in ("IfPossible", "Enabled") and found.get("readOnly") is not True:
        checker.refuse((*path, "recursiveReadOnly"), f"{wanted} is given without readOnly", "readOnly: true beside it")


def _below(checker: Checker, path: Path, value: Any) -> None:
    text(checker, path, value)
    if isinstance(value, str) and ".." in value.split("/"):
        checker.refuse(path, "leads out of the volume", "a path within it, without '..'")


_MOUNT = Table(
    {
        "name": name(),
        "mountPath": filled,
        "readOnly": truth,
        "recursiveReadOnly": choice("Disabled", "IfPossible", "Enabled"),
        "mountPropagation": choice("None"),
        **dict.fromkeys(("subPath", "subPathExpr"), _below),
    },
    ("name", "mountPath"),
    rules=(_read_only,),
)
_PORT = Table(
    {"name": port_name, "containerPort": port, "protocol": tcp},
    ("containerPort",),
    {"hostPort": HOST, "hostIP": HOST},
)
_CONTAINER: Mapping[str, Step] = {
    "name": name(),
    "image": _image,
    "env": list_of(_VARIABLE, "name"),
    "envFrom": list_of(_SOURCE),
    "ports": list_of(_PORT, "name", "containerPort"),
    "resources": Table({"requests": _amounts, "limits": _amounts}, refused={"claims": NODES}, rules=(_within_limits,)),
    "securityContext": _SECURITY,
    **_PROBES,
    "lifecycle": Table(dict.fromkeys(("postStart", "preStop"), _HOOK)),
    **dict.fromkeys(("command", "args"), words),
    "workingDir": text,
    "volumeMounts": list_of(_MOUNT, "mountPath"),
    "imagePullPolicy": choice("Always", "IfNotPresent", "Never"),
    "restartPolicy": choice("Always", note=", which lets an init container run beside the others"),
    "terminationMessagePath": text,
    "terminationMessagePolicy": choice("File", "FallbackToLogsOnError"),
}
_REFUSED_IN_CONTAINERS = {
    "volumeDevices": DATA,
    **dict.fromkeys(("stdin", "tty"), "nobody is there to type"),
}


def _named_ports(checker: Checker, path: Path, found: Map) -> None:
    """Probes and hooks ask ports of their own container."""
    known = [str(item["name"]) for _, item in maps(found.get("ports")) if "name" in item]
    asked: list[tuple[Path, Any]] = [((*path, each), found.get(each)) for each in _PROBES]
    hooks = found.get("lifecycle")
    asked += [((*path, "lifecycle", each), hook) for each, hook in hooks.items()] if isinstance(hooks, Map) else []
    for here, probe in asked:
        for handler in ("httpGet", "tcpSocket"):
            inner = probe.get(handler) if isinstance(probe, Map) else None
            wanted = inner.get("port") if isinstance(inner, Map) else None
            if isinstance(wanted, str) and wanted not in known:
                unknown(checker, (*here, handler, "port"), wanted, "port of the container", "ports", known)


def _not_beside(checker: Checker, path: Path, found: Map) -> None:
    if "restartPolicy" in found:
        message = "restartPolicy cannot be set: all containers of a pod start again as the pod's restartPolicy says"
        checker.refuse((*path, "restartPolicy"), message, on_key=True)


_NEEDS = ("name", "image")
_INIT = Table(_CONTAINER, _NEEDS, _REFUSED_IN_CONTAINERS, rules=(_named_ports,))
_MAIN = Table({**_CONTAINER, "restartPolicy": let}, _NEEDS, _REFUSED_IN_CONTAINERS, rules=(_named_ports, _not_beside))

# Pods


def _node_selector(checker: Checker, path: Path, value: Any) -> None:
    for each, item in checker.mapping(path, value).items():
        if each != ARCHITECTURE_LABEL:
            checker.refuse((*path, each), f"{each} cannot be chosen by: {NODES}", on_key=True)
        elif item not in ("amd64", "arm64", "loong64"):
            checker.refuse((*path, each), f"{describe(item)} is not an architecture", "amd64, arm64 or loong64")


def _apart(checker: Checker, path: Path, found: Map) -> None:
    if "minDomains" in found and found.get("whenUnsatisfiable") == "ScheduleAnyway":
        expected = "whenUnsatisfiable: DoNotSchedule beside it"
        checker.refuse((*path, "minDomains"), "minDomains is given with ScheduleAnyway", expected, on_key=True)
    keys, selector = found.get("matchLabelKeys"), found.get("labelSelector")
    if keys and not isinstance(selector, Map):
        checker.refuse((*path, "matchLabelKeys"), "is given without labelSelector", "both, or none", on_key=True)
    stated = selector.get("matchLabels") if isinstance(selector, Map) else None
    if not isinstance(keys, Seq) or not isinstance(stated, Map):
        return
    for index, each in enumerate(keys):
        if isinstance(each, str) and each in stated:
            checker.refuse((*path, "matchLabelKeys", index), f"{each} is in labelSelector, too", "in one of both")


_SPREAD = Table(
    {
        "maxSkew": whole(1),
        "topologyKey": qualified,
        "whenUnsatisfiable": choice("DoNotSchedule", "ScheduleAnyway"),
        "labelSelector": LABEL_SELECTOR,
        "minDomains": whole(1),
        **dict.fromkeys(("nodeAffinityPolicy", "nodeTaintsPolicy"), choice("Honor", "Ignore")),
        "matchLabelKeys": list_of(qualified),
    },
    ("maxSkew", "topologyKey", "whenUnsatisfiable"),
    rules=(_apart,),
)


def _spread(checker: Checker, path: Path, found: Map) -> None:
    seen: dict[Any, Path] = {}
    for index, item in maps(found.get("topologySpreadConstraints")):
        both = (item.get("topologyKey"), item.get("whenUnsatisfiable"))
        if all(isinstance(each, str) for each in both):
            here = (*path, "topologySpreadConstraints", index)
            checker.once(seen, both, here, f"{both[0]} with {both[1]}")


def _names_of_containers(checker: Checker, path: Path, found: Map) -> None:
    seen: dict[Any, Path] = {}
    for where, item in containers_of(found):
        if isinstance(item.get("name"), str):
            checker.once(seen, item["name"], (*path, *where, "name"), f"container {shorten(item['name'])!r}")


def _mounts(checker: Checker, path: Path, found: Map) -> None:
    """Containers mount volumes of their pod."""
    known = [str(item["name"]) for _, item in maps(found.get("volumes")) if "name" in item]
    for where, container in containers_of(found):
        for index, item in maps(container.get("volumeMounts")):
            wanted = item.get("name")
            if isinstance(wanted, str) and wanted not in known:
                at = (*path, *where, "volumeMounts", index, "name")
                unknown(checker, at, wanted, "volume of the pod", "volumes", known)


def _pauses(checker: Checker, path: Path, found: Map) -> None:
    """A hook that sleeps ends before the pod has to."""
    grace = found.get("terminationGracePeriodSeconds", _DEFAULT_GRACE)
    for where, container in containers_of(found):
        hooks = container.get("lifecycle")
        for each, hook in hooks.items() if isinstance(hooks, Map) else ():
            sleep = hook.get("sleep") if isinstance(hook, Map) else None
            seconds = sleep.get("seconds") if isinstance(sleep, Map) else None
            if isinstance(seconds, int) and isinstance(grace, int) and seconds > grace:
                at = (*path, *where, "lifecycle", each, "sleep", "seconds")
                checker.refuse(at, f"{seconds} is more than the pod has to end, {grace}", f"{grace} at the most")


_REFUSED_IN_PODS: Mapping[str, str] = {
    **dict.fromkeys(("serviceAccountName", "serviceAccount", "automountServiceAccountToken"), ACCOUNT),
    **dict.fromkeys(("nodeName", "affinity", "tolerations", "schedulerName", "runtimeClassName"), NODES),
    **dict.fromkeys(("priorityClassName", "priority", "preemptionPolicy"), PRIORITY),
    **dict.fromkeys(("hostNetwork", "hostPID", "hostIPC", "hostUsers", "hostAliases"), HOST),
    "imagePullSecrets": "`images.credentials` of the City has the credentials of registries",
    "ephemeralContainers": "containers of a pod are stated before it starts",
    **dict.fromkeys(("dnsPolicy", "dnsConfig"), "pods ask the cluster's DNS"),
    "enableServiceLinks": "it is false",
}
_POD: Mapping[str, Step] = {
    "containers": list_of(_MAIN, least=1),
    "initContainers": list_of(_INIT),
    "volumes": list_of(VOLUME, "name"),
    "securityContext": _POD_SECURITY,
    "nodeSelector": _node_selector,
    "terminationGracePeriodSeconds": whole(),
    **dict.fromkeys(("hostname", "subdomain"), name()),
    "topologySpreadConstraints": list_of(_SPREAD),
    "shareProcessNamespace": truth,
}
_WHOLE = (_names_of_containers, _mounts, _pauses, _spread)
LABELLED = Table({"labels": labels, "annotations": notes})


def template(*restart: str) -> Table:
    """The pods of a workload, with the values of `restartPolicy` that it may have: Always, or what Jobs have."""
    if "Always" in restart:
        note = ": pods that serve are always started again"
        refused = {**_REFUSED_IN_PODS, "activeDeadlineSeconds": "pods that serve do not end; a Job's do"}
    else:
        note = ": pods of a Job end"
        refused = dict(_REFUSED_IN_PODS)
    fields: dict[str, Step] = {
        **_POD,
        "restartPolicy": choice(*restart, note=note),
        "activeDeadlineSeconds": whole(1),
    }
    needs = ("containers",) if "Always" in restart else ("restartPolicy", "containers")
    pod = Table(fields, needs, refused, rules=_WHOLE)
    return Table({"metadata": LABELLED, "spec": pod}, ("spec",))
