"""Checks the Kubernetes manifests of apps and platforms: kinds, fields, labels, references and names.

A field that is not listed here is refused: what they get without saying it, such as their account, nodes and network
policies, cannot be said otherwise. `stacks.manifests` adds it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from wecityctl.errors import Problem
from wecityctl.guesses import nearest
from wecityctl.model import naming
from wecityctl.model.city import App, Platform
from wecityctl.model.entries import ENTRY_SERVICE
from wecityctl.model.images import BUILT_HOST
from wecityctl.model.manifests import ARCHITECTURE_LABEL, KINDS, default_namespace, namespaces_of, own_secrets
from wecityctl.model.quantity import parse_quantity
from wecityctl.paths import recipe_names
from wecityctl.spec.checks.amounts import MAX_FILES_BYTES
from wecityctl.spec.checks.check import Check
from wecityctl.spec.fields import one_of
from wecityctl.spec.manifest_files import is_number
from wecityctl.spec.nodes import Document, Map, PathItem, Seq, Unquoted, shorten
from wecityctl.spec.parsed_city import ParsedCity, SourcedManifest
from wecityctl.spec.renames import parsed_with_kept_names
from wecityctl.spec.schema.names import image_fault, label_fault, label_value_fault
from wecityctl.spec.schema.schedules import is_time_zone
from wecityctl.spec.translate import describe, problem_at

_Path = tuple[PathItem, ...]
_CATALOGUE = "catalogue:"
# What names of Jobs and Services begin with that the city itself has in the namespaces of platforms.
_OWN_JOBS = (ENTRY_SERVICE, "provision", "manifests")
_KEY = re.compile(r"[-._a-zA-Z0-9]{1,253}")
_NAME = re.compile(r"[a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?")

_RIGHTS = "rights are the city's: a tenant's people and deployers are named in its Tenant"
_FENCES = "traffic is opened by `uses` of the App and `flows` of the City, and by nothing else"
_BOUNDS = "what bounds a tenant is in its Tenant, under `quota`"
_WIDE = "it belongs to the whole cluster, not to an app"
_DATA = "data outlives its app: `volumes` of a component, or a capability under `uses`"
_WAY_IN = "apps are reached by their `route` alone"
_PODS = "write a Deployment, a StatefulSet or a Job, which replaces pods that are lost"
_ONE_ACCOUNT = "an app has one account, which has no rights and whose token no pod is given"
_ON_EACH_NODE = "a pod on each node is the city's, not an app's"
_STAGE = "the app's stage suspends it"
_PRIORITY = "pods have the priority of tenants' apps"
_ACCOUNT = "pods have the app's account, which has no rights"
_NODES = "`zone`, `cloud` and `placement` of the App say where pods run"
_HOST = "pods have nothing of their node"
_SECRETS = "values of secrets are in no file: `secrets` of a component, or a binding under `uses`"
REFUSED_KINDS: Mapping[str, str] = {
    **dict.fromkeys(("Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding"), _RIGHTS),
    "ServiceAccount": _ONE_ACCOUNT,
    "NetworkPolicy": _FENCES,
    **dict.fromkeys(("ResourceQuota", "LimitRange"), _BOUNDS),
    **dict.fromkeys(
        (
            *("Namespace", "Node", "CustomResourceDefinition", "PriorityClass", "StorageClass", "PersistentVolume"),
            *("MutatingWebhookConfiguration", "ValidatingWebhookConfiguration", "APIService", "RuntimeClass"),
            *("ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding", "MutatingAdmissionPolicy", "CSIDriver"),
        ),
        _WIDE,
    ),
    "PersistentVolumeClaim": _DATA,
    **dict.fromkeys(("Ingress", "Gateway", "HTTPRoute", "GRPCRoute", "TLSRoute", "TCPRoute"), _WAY_IN),
    **dict.fromkeys(("Endpoints", "EndpointSlice"), "they would lead a Service's traffic to any address"),
    **dict.fromkeys(("Pod", "ReplicaSet", "ReplicationController"), _PODS),
    "DaemonSet": _ON_EACH_NODE,
    "Secret": _SECRETS,
    "List": "write its items as documents of the file, with --- between them",
}
# The same reasons where they are said of a platform.
_OF_PLATFORMS: Mapping[str, str] = {
    _RIGHTS: "rights are the city's",
    _FENCES: "pods of a platform's manifests reach each other and nothing else",
    _BOUNDS: "a platform is bounded by its clouds",
    _WIDE: "it belongs to the whole cluster, not to a platform",
    _DATA: "data belongs to a capability",
    _WAY_IN: "nothing outside reaches a platform but its capabilities",
    _SECRETS: "values of secrets are in no file, and a platform's manifests are given none",
    _ONE_ACCOUNT: "pods have an account without rights, whose token they are not given",
    _ON_EACH_NODE: "a pod on each node is the city's, not a platform's",
    _STAGE: "what a platform has runs",
    _PRIORITY: "pods have the priority of platforms",
    _ACCOUNT: "pods have an account without rights",
    _NODES: "pods run where the first capability in their namespace does",
}


@dataclass(slots=True)
class _Checker:
    """Collects the problems of one manifest of `owner`."""

    owner: App | Platform
    document: Document
    problems: list[Problem] = field(default_factory=list)

    @property
    def word(self) -> str:
        """What the owner is."""
        return "app" if isinstance(self.owner, App) else "platform"

    def reason(self, text: str) -> str:
        """A reason as it is said of the owner."""
        if isinstance(self.owner, App):
            return text
        for of_app, of_platform in _OF_PLATFORMS.items():
            text = text.replace(of_app, of_platform)
        return text

    def refuse(self, path: _Path, message: str, expected: str = "", guess: str = "", *, on_key: bool = False) -> None:
        message, expected = self.reason(message), self.reason(expected)
        self.problems.append(problem_at(self.document, path, message, expected, guess, on_key=on_key))

    def mapping(self, path: _Path, value: Any) -> Map:
        if isinstance(value, Map):
            return value
        self.refuse(path, f"{describe(value)} is given", "a mapping")
        return Map(self.document.start)

    def items(self, path: _Path, value: Any) -> Iterator[tuple[_Path, Map]]:
        if not isinstance(value, Seq):
            self.refuse(path, f"{describe(value)} is given", "a list")
            return
        for index, item in enumerate(value):
            yield (*path, index), self.mapping((*path, index), item)

    def fields(
        self, path: _Path, value: Any, known: Mapping[str, _Step | None], refused: Mapping[str, str] = {}
    ) -> Map:
        """Check a mapping's fields: those in `known` by their step, the others are refused."""
        found = self.mapping(path, value)
        for key, item in found.items():
            here = (*path, key)
            if key in refused:
                self.refuse(here, f"{key} cannot be set: {refused[key]}", on_key=True)
            elif key not in known:
                guess = nearest(key, tuple(known))
                self.refuse(here, f"unknown field {shorten(key)!r}", one_of(tuple(known)), guess, on_key=True)
            elif item is None:
                self.refuse(here, "is empty", "a value, or no such field")
            else:
                step = known[key]
                if step is not None:
                    step(self, here, item)
        return found

    def need(self, path: _Path, found: Map, *names: str) -> None:
        for name in names:
            if name not in found:
                self.refuse(path, f"required field {name!r} is missing", on_key=bool(path))


_Step = Callable[[_Checker, _Path, Any], None]


def document_problems(owner: App | Platform, document: Document) -> list[Problem]:
    """The problems of one manifest of `owner`, without those of its name among others."""
    checker = _Checker(owner, document)
    value = document.value
    if not isinstance(value, Map):
        checker.refuse((), f"the manifest is {describe(value)}", "a mapping that begins apiVersion: …")
        return checker.problems
    kind, version = value.get("kind"), value.get("apiVersion")
    if str(version).startswith("wecity"):
        checker.refuse((), "a document of the city is no manifest", "the document in a file that no `manifests` names")
    elif not isinstance(kind, str) or kind not in KINDS:
        shown = repr(shorten(kind)) if isinstance(kind, str) else describe(kind)
        why = REFUSED_KINDS.get(str(kind), "")
        if why:
            checker.refuse(("kind",), f"{_a(checker)} has no {kind} of its own: {why}")
        else:
            message = f"{shown} is not a kind of manifest that {_a(checker)} has"
            checker.refuse(("kind",), message, one_of(tuple(KINDS)), nearest(str(kind), tuple(KINDS)))
    elif version != KINDS[kind]:
        checker.refuse(("apiVersion",), f"{describe(version)} is not the version of a {kind}", KINDS[kind])
    else:
        _scalars(checker, (), value)
        known = {"apiVersion": None, "kind": None, "metadata": _metadata}
        own: dict[str, _Step | None] = {"spec": _SPECS[kind]} if kind in _SPECS else dict(_CONFIG_MAP)
        found = checker.fields((), value, {**known, **own}, {"status": "the cluster writes it"})
        checker.need((), found, "metadata", *(("spec",) if kind in _SPECS else ()))
        if "metadata" in found and isinstance(found["metadata"], Map) and "name" not in found["metadata"]:
            checker.refuse(("metadata",), "required field 'name' is missing", on_key=True)
    return checker.problems


def _a(checker: _Checker) -> str:
    return "an app" if isinstance(checker.owner, App) else "a platform"


def _scalars(checker: _Checker, path: _Path, value: Any) -> None:
    """Values that YAML readers disagree about are refused anywhere."""
    if isinstance(value, Map):
        for key, item in value.items():
            _scalars(checker, (*path, key), item)
    elif isinstance(value, Seq):
        for index, item in enumerate(value):
            _scalars(checker, (*path, index), item)
    elif isinstance(value, Unquoted) and not is_number(value):
        checker.refuse(path, f"{describe(value)} is given", f'"{shorten(value.text)}" in quotes')


def _metadata(checker: _Checker, path: _Path, value: Any) -> None:
    known = {"name": _name, "namespace": _namespace, "labels": _labels, "annotations": _notes}
    found = checker.fields(path, value, known)
    if isinstance(checker.owner, Platform) and "namespace" not in found and not default_namespace(checker.owner):
        message = "the platform has several namespaces, each of a zone"
        checker.refuse(path, message, f"namespace: {one_of(namespaces_of(checker.owner))}", on_key=True)


def _name(checker: _Checker, path: _Path, value: Any) -> None:
    if not isinstance(value, str) or not _NAME.fullmatch(value):
        expected = "at most 63 lower-case letters, digits and hyphens, no hyphen at either end"
        checker.refuse(path, f"{describe(value)} is not a name", expected)


def _namespace(checker: _Checker, path: _Path, value: Any) -> None:
    owner = checker.owner
    if isinstance(owner, Platform):
        if value not in namespaces_of(owner):
            message = f"{describe(value)} is no namespace of the platform's capabilities"
            checker.refuse(path, message, one_of(namespaces_of(owner)))
        return
    ours = naming.tenant_namespace(owner.tenant, owner.zone)
    if value != ours:
        checker.refuse(path, f"{describe(value)} is not the app's namespace", f"{ours}, or no namespace")


def _labels(checker: _Checker, path: _Path, value: Any) -> None:
    for key, item in checker.mapping(path, value).items():
        if fault := label_fault(key):
            checker.refuse((*path, key), fault[0], fault[1], on_key=True)
        if not isinstance(item, str):
            checker.refuse((*path, key), f"{describe(item)} is given", "text")
        elif fault := label_value_fault(item):
            checker.refuse((*path, key), fault[0], fault[1])


def _notes(checker: _Checker, path: _Path, value: Any) -> None:
    for key, item in checker.mapping(path, value).items():
        prefix = key.rpartition("/")[0]
        if prefix.endswith(("kubernetes.io", "k8s.io", "pulumi.com", naming.LABEL_PREFIX)):
            checker.refuse(
                (*path, key), f"annotations under {prefix}/ change how the cluster treats objects", on_key=True
            )
        if not isinstance(item, str):
            checker.refuse((*path, key), f"{describe(item)} is given", "text")


def _texts(checker: _Checker, path: _Path, value: Any) -> None:
    size = 0
    for key, item in checker.mapping(path, value).items():
        if not _KEY.fullmatch(key) or key in (".", "..") or key.startswith(".."):
            expected = "at most 253 letters, digits, '.', '_' and '-', not beginning with '..'"
            checker.refuse((*path, key), f"{shorten(key)!r} is not a key of a ConfigMap", expected, on_key=True)
        size += len(key) + (len(item.encode(errors="replace")) if isinstance(item, str) else 0)
        if not isinstance(item, str):
            checker.refuse((*path, key), f"{describe(item)} is given", "text")
    if size > MAX_FILES_BYTES:
        message, expected = f"the texts are too large together: {size:,} bytes", f"at most {MAX_FILES_BYTES:,}"
        checker.refuse(path, message, expected, on_key=True)


def _count(checker: _Checker, path: _Path, value: Any) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= 1000:
        checker.refuse(path, f"{describe(value)} is given", "a whole number from 0 to 1000")


def _selector(checker: _Checker, path: _Path, value: Any) -> None:
    found = checker.fields(path, value, {"matchLabels": _labels})
    if not found.get("matchLabels"):
        checker.refuse(path, "selects nothing in particular", "matchLabels with labels of the pods", on_key=True)


def _selected(checker: _Checker, path: _Path, value: Any) -> None:
    """The selector finds the pods of its own template."""
    wanted = _at(value, "selector", "matchLabels")
    labels = _at(value, "template", "metadata", "labels")
    if isinstance(wanted, Map) and isinstance(_at(value, "template"), Map):
        for key, item in wanted.items():
            if not isinstance(labels, Map) or labels.get(key) != item:
                here = (*path, "selector", "matchLabels", key)
                checker.refuse(here, "the template's pods have no such label", "a label under template.metadata.labels")


def _at(value: Any, *keys: str) -> Any:
    for key in keys:
        value = value.get(key) if isinstance(value, Map) else None
    return value


def _service(checker: _Checker, path: _Path, value: Any) -> None:
    outside = f"a Service is reached within the cluster alone: {_WAY_IN}"
    refused = {
        **dict.fromkeys(
            (
                *("externalIPs", "externalName", "loadBalancerIP", "loadBalancerClass", "loadBalancerSourceRanges"),
                *("externalTrafficPolicy", "healthCheckNodePort", "allocateLoadBalancerNodePorts"),
            ),
            outside,
        ),
        **dict.fromkeys(("clusterIPs", "ipFamilies", "ipFamilyPolicy"), "the cluster gives addresses"),
    }

    def kind(_: _Checker, here: _Path, item: Any) -> None:
        if item != "ClusterIP":
            checker.refuse(here, f"{describe(item)} is given", f"ClusterIP; {outside}")

    def address(_: _Checker, here: _Path, item: Any) -> None:
        if item != "None":
            checker.refuse(here, f"{describe(item)} is given", "None, or no clusterIP")

    def selector(_: _Checker, here: _Path, item: Any) -> None:
        _labels(checker, here, item)
        if not item:
            checker.refuse(here, "selects nothing", f"labels of the {checker.word}'s own pods")

    def ports(_: _Checker, here: _Path, item: Any) -> None:
        fields = {"name": None, "port": _port, "targetPort": None, "protocol": _tcp, "appProtocol": None}
        for each, port in checker.items(here, item):
            checker.need(each, checker.fields(each, port, fields, {"nodePort": outside}), "port")

    known: dict[str, _Step | None] = {
        "type": kind,
        "selector": selector,
        "ports": ports,
        "clusterIP": address,
        "publishNotReadyAddresses": None,
        "sessionAffinity": None,
        "internalTrafficPolicy": None,
    }
    checker.need(path, checker.fields(path, value, known, refused), "selector", "ports")


def _port(checker: _Checker, path: _Path, value: Any) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 < value < 65536:
        checker.refuse(path, f"{describe(value)} is given", "a port number")


def _tcp(checker: _Checker, path: _Path, value: Any) -> None:
    if value != "TCP":
        checker.refuse(path, f"{describe(value)} is given", "TCP: flows between zones and apps are of TCP")


def _deployment(checker: _Checker, path: _Path, value: Any) -> None:
    known: dict[str, _Step | None] = {
        "replicas": _count,
        "selector": _selector,
        "template": _template,
        **dict.fromkeys(("strategy", "minReadySeconds", "progressDeadlineSeconds", "revisionHistoryLimit")),
    }
    refused = {"paused": "an update that waits for somebody would never end"}
    checker.need(path, checker.fields(path, value, known, refused), "selector", "template")
    _selected(checker, path, value)


def _stateful_set(checker: _Checker, path: _Path, value: Any) -> None:
    known: dict[str, _Step | None] = {
        "replicas": _count,
        "selector": _selector,
        "template": _template,
        **dict.fromkeys(
            ("serviceName", "podManagementPolicy", "updateStrategy", "minReadySeconds", "revisionHistoryLimit")
        ),
    }
    refused = dict.fromkeys(("volumeClaimTemplates", "persistentVolumeClaimRetentionPolicy"), _DATA)
    checker.need(path, checker.fields(path, value, known, refused), "selector", "template")
    _selected(checker, path, value)


def _job(checker: _Checker, path: _Path, value: Any) -> None:
    known: dict[str, _Step | None] = {
        "template": _template,
        "parallelism": _count,
        "completions": _count,
        **dict.fromkeys(("backoffLimit", "activeDeadlineSeconds", "completionMode", "podFailurePolicy")),
    }
    refused = {
        "ttlSecondsAfterFinished": "a Job that is gone would be made again by each `up`",
        **dict.fromkeys(("selector", "manualSelector"), "the cluster sets it"),
        "suspend": _STAGE,
    }
    checker.need(path, checker.fields(path, value, known, refused), "template")


def _cron_job(checker: _Checker, path: _Path, value: Any) -> None:
    def schedule(_: _Checker, here: _Path, item: Any) -> None:
        if not isinstance(item, str) or len(item.split()) not in (1, 5):
            checker.refuse(here, f"{describe(item)} is given", 'five fields such as "0 3 * * *"')

    def zone(_: _Checker, here: _Path, item: Any) -> None:
        if not isinstance(item, str) or not is_time_zone(item):
            checker.refuse(here, f"{describe(item)} is not a time zone", "a name such as Asia/Shanghai or Etc/UTC")

    def template(_: _Checker, here: _Path, item: Any) -> None:
        checker.need(here, checker.fields(here, item, {"spec": _job, "metadata": _own_labels}), "spec")

    known: dict[str, _Step | None] = {
        "schedule": schedule,
        "timeZone": zone,
        "jobTemplate": template,
        **dict.fromkeys(
            (
                *("concurrencyPolicy", "startingDeadlineSeconds"),
                *("successfulJobsHistoryLimit", "failedJobsHistoryLimit"),
            )
        ),
    }
    refused = {"suspend": _STAGE}
    checker.need(path, checker.fields(path, value, known, refused), "schedule", "jobTemplate")


def _autoscaler(checker: _Checker, path: _Path, value: Any) -> None:
    def target(_: _Checker, here: _Path, item: Any) -> None:
        found = checker.fields(here, item, {"apiVersion": None, "kind": None, "name": _name})
        checker.need(here, found, "kind", "name")
        if found.get("kind") not in ("Deployment", "StatefulSet"):
            expected = "a Deployment or StatefulSet; a component has `autoscale`"
            checker.refuse((*here, "kind"), f"{describe(found.get('kind'))} is given", expected)

    known: dict[str, _Step | None] = {
        "scaleTargetRef": target,
        "minReplicas": _count,
        "maxReplicas": _count,
        "metrics": None,
        "behavior": None,
    }
    checker.need(path, checker.fields(path, value, known), "scaleTargetRef", "maxReplicas")


def _budget(checker: _Checker, path: _Path, value: Any) -> None:
    known = {"selector": _selector, "minAvailable": None, "maxUnavailable": None, "unhealthyPodEvictionPolicy": None}
    checker.need(path, checker.fields(path, value, known), "selector")


def _own_labels(checker: _Checker, path: _Path, value: Any) -> None:
    checker.fields(path, value, {"labels": _labels, "annotations": _notes})


def _template(checker: _Checker, path: _Path, value: Any) -> None:
    checker.need(path, checker.fields(path, value, {"metadata": _own_labels, "spec": _pod}), "spec")


_REFUSED_IN_PODS: Mapping[str, str] = {
    **dict.fromkeys(("serviceAccountName", "serviceAccount", "automountServiceAccountToken"), _ACCOUNT),
    **dict.fromkeys(("nodeName", "affinity", "tolerations", "schedulerName", "runtimeClassName"), _NODES),
    **dict.fromkeys(("priorityClassName", "priority", "preemptionPolicy"), _PRIORITY),
    **dict.fromkeys(("hostNetwork", "hostPID", "hostIPC", "hostUsers", "hostAliases"), _HOST),
    "imagePullSecrets": "`images.credentials` of the City has the credentials of registries",
    "ephemeralContainers": "containers of a pod are stated before it starts",
    **dict.fromkeys(("dnsPolicy", "dnsConfig"), "pods ask the cluster's DNS"),
    "enableServiceLinks": "it is false",
}


def _pod(checker: _Checker, path: _Path, value: Any) -> None:
    known: dict[str, _Step | None] = {
        "containers": _containers,
        "initContainers": _containers,
        "volumes": _volumes,
        "securityContext": _security,
        "nodeSelector": _node_selector,
        **dict.fromkeys(
            (
                *("restartPolicy", "terminationGracePeriodSeconds", "activeDeadlineSeconds", "hostname", "subdomain"),
                *("topologySpreadConstraints", "shareProcessNamespace"),
            )
        ),
    }
    found = checker.fields(path, value, known, _REFUSED_IN_PODS)
    checker.need(path, found, "containers")
    if found.get("containers") == []:
        checker.refuse((*path, "containers"), "is empty", "at least one container")


def _node_selector(checker: _Checker, path: _Path, value: Any) -> None:
    for key, item in checker.mapping(path, value).items():
        if key != ARCHITECTURE_LABEL:
            checker.refuse((*path, key), f"{key} cannot be chosen by: {_NODES}", on_key=True)
        elif item not in ("amd64", "arm64", "loong64"):
            checker.refuse((*path, key), f"{describe(item)} is not an architecture", "amd64, arm64 or loong64")


def _security(checker: _Checker, path: _Path, value: Any) -> None:
    """What a security context loosens; what it leaves out is restricted."""
    restricted = "the restricted Pod Security Standard"
    for key, item in checker.mapping(path, value).items():
        here = (*path, key)
        if key in ("privileged", "allowPrivilegeEscalation") and item is not False:
            checker.refuse(here, f"{describe(item)} is given", f"false: {restricted}")
        elif key == "runAsNonRoot" and item is not True:
            checker.refuse(here, f"{describe(item)} is given", f"true: {restricted}")
        elif key == "runAsUser" and (isinstance(item, bool) or not isinstance(item, int) or item <= 0):
            checker.refuse(here, f"{describe(item)} is given", "a number above 0: no process is root's")
        elif key in ("seLinuxOptions", "appArmorProfile", "windowsOptions", "procMount", "sysctls"):
            checker.refuse(here, f"{key} cannot be set", restricted, on_key=True)
        elif key == "seccompProfile" and (not isinstance(item, Map) or item.get("type") != "RuntimeDefault"):
            checker.refuse(here, "this profile is not restricted", "{type: RuntimeDefault}, or none")
        elif key == "capabilities":
            added = checker.mapping(here, item).get("add") or ()
            if any(each != "NET_BIND_SERVICE" for each in added):
                checker.refuse((*here, "add"), "adds capabilities", f"NET_BIND_SERVICE at the most: {restricted}")
            if "ALL" not in (item.get("drop") or ()) if isinstance(item, Map) else True:
                checker.refuse(here, "does not drop all capabilities", f"drop: [ALL]: {restricted}")


def _containers(checker: _Checker, path: _Path, value: Any) -> None:
    known: dict[str, _Step | None] = {
        "name": _name,
        "image": _image,
        "env": _variables,
        "envFrom": _sources,
        "ports": _container_ports,
        "resources": _resources,
        "securityContext": _security,
        "volumeMounts": _mounts,
        **dict.fromkeys(("livenessProbe", "readinessProbe", "startupProbe"), _probe),
        "lifecycle": _lifecycle,
        **dict.fromkeys(
            (
                *("command", "args", "workingDir", "imagePullPolicy", "restartPolicy"),
                *("terminationMessagePath", "terminationMessagePolicy"),
            )
        ),
    }
    refused = {"volumeDevices": _DATA, "stdin": "nobody is there to type", "tty": "nobody is there to type"}
    for here, item in checker.items(path, value):
        checker.need(here, checker.fields(here, item, known, refused), "name", "image")


def _mounts(checker: _Checker, path: _Path, value: Any) -> None:
    for here, item in checker.items(path, value):
        for key in ("subPath", "subPathExpr"):
            if key in item and ".." in str(item[key]).split("/"):
                checker.refuse((*here, key), "leads out of the volume", "a path within it, without '..'")
        if item.get("mountPropagation", "None") != "None":
            checker.refuse((*here, "mountPropagation"), f"{describe(item['mountPropagation'])} is given", "None")


def _image(checker: _Checker, path: _Path, value: Any) -> None:
    if not isinstance(value, str):
        checker.refuse(path, f"{describe(value)} is given", "an image reference")
        return
    if fault := image_fault(value):
        checker.refuse(path, fault[0], fault[1])
    elif value.startswith(_CATALOGUE) and value.removeprefix(_CATALOGUE) not in recipe_names():
        checker.refuse(path, f"there is no image {value.removeprefix(_CATALOGUE)!r} of our own", one_of(recipe_names()))
    elif value.lower().startswith(f"{BUILT_HOST}/"):
        checker.refuse(path, f"no registry serves {BUILT_HOST}", f"{_CATALOGUE}NAME, or an image in a registry")


def _container_ports(checker: _Checker, path: _Path, value: Any) -> None:
    known = {"name": None, "containerPort": _port, "protocol": _tcp}
    for here, item in checker.items(path, value):
        found = checker.fields(here, item, known, {"hostPort": _HOST, "hostIP": _HOST})
        checker.need(here, found, "containerPort")


def _resources(checker: _Checker, path: _Path, value: Any) -> None:
    def amounts(_: _Checker, here: _Path, item: Any) -> None:
        for key, amount in checker.mapping(here, item).items():
            if key not in ("cpu", "memory", "ephemeral-storage"):
                expected = "cpu, memory or ephemeral-storage; accelerators are asked for by components"
                checker.refuse((*here, key), f"unknown resource {shorten(key)!r}", expected, on_key=True)
            elif not _is_quantity(amount):
                checker.refuse((*here, key), f"{describe(amount)} is not an amount", "such as 500m or 512Mi")

    checker.fields(path, value, {"requests": amounts, "limits": amounts}, {"claims": _NODES})


def _is_quantity(value: Any) -> bool:
    text = value.text if isinstance(value, Unquoted) else str(value)
    try:
        return not isinstance(value, bool | Map | Seq) and parse_quantity(text) > 0
    except ValueError:
        return False


def _probe(checker: _Checker, path: _Path, value: Any) -> None:
    for kind in ("httpGet", "tcpSocket"):
        inner = checker.mapping(path, value).get(kind)
        if isinstance(inner, Map) and "host" in inner:
            checker.refuse((*path, kind, "host"), "the node would ask another host", "no host: the pod", on_key=True)


def _lifecycle(checker: _Checker, path: _Path, value: Any) -> None:
    for hook, item in checker.mapping(path, value).items():
        _probe(checker, (*path, hook), item)


def _variables(checker: _Checker, path: _Path, value: Any) -> None:
    for here, item in checker.items(path, value):
        checker.need(here, checker.fields(here, item, {"name": None, "value": _text, "valueFrom": _value_from}), "name")


def _text(checker: _Checker, path: _Path, value: Any) -> None:
    if not isinstance(value, str):
        checker.refuse(path, f"{describe(value)} is given", "text, in quotes")


def _value_from(checker: _Checker, path: _Path, value: Any) -> None:
    known: dict[str, _Step | None] = dict.fromkeys(("configMapKeyRef", "fieldRef", "resourceFieldRef"))
    checker.fields(path, value, {**known, "secretKeyRef": _secret("name")}, {})


def _sources(checker: _Checker, path: _Path, value: Any) -> None:
    for here, item in checker.items(path, value):
        checker.fields(here, item, {"configMapRef": None, "prefix": None, "secretRef": _secret("name")})


def _secret(key: str) -> _Step:
    """A reference to a Secret, whose name is under `key`: one of the app's own."""

    def check(checker: _Checker, path: _Path, value: Any) -> None:
        found = checker.mapping(path, value)
        own = sorted(own_secrets(checker.owner))
        name = found.get(key)
        if isinstance(checker.owner, Platform):
            checker.refuse((*path, key), f"a Secret cannot be read: {_SECRETS}")
        elif name not in own:
            expected = one_of(tuple(own)) if own else "a binding under `uses` of the App, or `secrets` of a component"
            shown = repr(shorten(name)) if isinstance(name, str) else "no name"
            checker.refuse((*path, key), f"{shown} is not a Secret of this app", expected, nearest(str(name), own))

    return check


def _volumes(checker: _Checker, path: _Path, value: Any) -> None:
    def projected(_: _Checker, here: _Path, item: Any) -> None:
        found = checker.fields(here, item, {"sources": None, "defaultMode": None})
        refused = {"serviceAccountToken": _ACCOUNT, "clusterTrustBundle": _WIDE, "podCertificate": _ACCOUNT}
        known: dict[str, _Step | None] = {"configMap": None, "downwardAPI": None, "secret": _secret("name")}
        for each, source in checker.items((*here, "sources"), found.get("sources", Seq(found.start))):
            checker.fields(each, source, known, refused)

    known: dict[str, _Step | None] = {
        **dict.fromkeys(("name", "configMap", "emptyDir", "downwardAPI")),
        "projected": projected,
        "secret": _secret("secretName"),
    }
    refused = {
        **dict.fromkeys(("persistentVolumeClaim", "ephemeral", "csi", "nfs", "iscsi"), _DATA),
        **dict.fromkeys(("hostPath", "local"), _HOST),
        "image": "files of another image are copied by an init container",
    }
    for here, item in checker.items(path, value):
        checker.need(here, checker.fields(here, item, known, refused), "name")
        sources = sorted(item.keys() & known.keys() - {"name"})
        if len(sources) > 1:
            checker.refuse((*here, sources[1]), f"the volume has {sources[0]}, too", "one of the two", on_key=True)


_SPECS: Mapping[str, _Step] = {
    "Service": _service,
    "Deployment": _deployment,
    "StatefulSet": _stateful_set,
    "Job": _job,
    "CronJob": _cron_job,
    "HorizontalPodAutoscaler": _autoscaler,
    "PodDisruptionBudget": _budget,
}
_CONFIG_MAP: Mapping[str, _Step | None] = {"data": _texts, "binaryData": _texts, "immutable": None}


def contents(parsed_city: ParsedCity) -> Iterator[Problem]:
    """Each manifest is of a kind that its owner may have, and says nothing that is not the owner's to say."""
    for item in parsed_city.manifests:
        yield from document_problems(item.owner, item.document)


def names(parsed_city: ParsedCity) -> Iterator[Problem]:
    """A manifest has a name that no other object in its namespace has, and an autoscaler scales one of its owner's."""
    taken = _taken(parsed_with_kept_names(parsed_city))
    seen: dict[tuple[str, str, str], str] = {}
    for item in parsed_city.manifests:
        namespace = _namespace_of(item)
        kind, name = item.document.kind, item.document.name
        path = ("metadata", "name")
        whose = taken.get((namespace, name), "")
        if isinstance(item.owner, Platform):
            whose = _of_platform(item.owner, name)
        if whose:
            yield problem_at(item.document, path, f"{name!r} is the name of {whose}", "another name")
        place = str(item.document.place(path))
        first = seen.setdefault((namespace, kind, name), place)
        if name and first != place:
            yield problem_at(item.document, path, f"{kind} {name!r} is given twice (first in {first})", "another name")
        yield from _scaled(parsed_city, item)


def _namespace_of(item: SourcedManifest) -> str:
    """The namespace of a manifest; empty if none can be told, which `contents` reports."""
    owner = item.source.value
    if isinstance(owner, App):
        return naming.tenant_namespace(owner.tenant, owner.zone)
    metadata = item.document.value.get("metadata") if isinstance(item.document.value, Map) else None
    stated = metadata.get("namespace") if isinstance(metadata, Map) else None
    return str(stated) if stated else default_namespace(owner)


def _of_platform(platform: Platform, name: str) -> str:
    """Whose names begin as `name` does in the namespaces of a platform; empty if nobody's do."""
    for capability in platform.capabilities:
        if name == capability.name or name.startswith(f"{capability.name}-"):
            return f"objects of capability {capability.name!r}"
    for begins in _OWN_JOBS:
        if name == begins or name.startswith(f"{begins}-"):
            return "objects of the city's own"
    return ""


def _taken(parsed_city: ParsedCity) -> dict[tuple[str, str], str]:
    """The names of the objects of components, by namespace, each with whose it is."""
    found: dict[tuple[str, str], str] = {}
    for app, _, part in parsed_city.components():
        namespace = naming.tenant_namespace(app.value.tenant, app.value.zone)
        workload = naming.component_workload(app.value.name, part.name)
        whose = f"component {part.name!r} of app {app.value.tenant}/{app.value.name}"
        for name in (workload, f"{workload}-files", naming.fit(f"{workload}-crossing")):
            found.setdefault((namespace, name), whose)
        found.setdefault((namespace, "kube-root-ca.crt"), "the cluster's own ConfigMap")
    for app in parsed_city.apps:
        namespace = naming.tenant_namespace(app.value.tenant, app.value.zone)
        route = app.value.route
        crossing = [naming.provided_service(item.service, item.name) for item in app.value.provides if item.service]
        crossing += [naming.fit(f"{route.service}-crossing")] if route is not None and route.service else []
        for name in crossing:
            whose = f"the Service by which other clouds reach app {app.value.tenant}/{app.value.name}"
            found.setdefault((namespace, name), whose)
    return found


def _scaled(parsed_city: ParsedCity, item: SourcedManifest) -> Iterator[Problem]:
    value = item.document.value
    spec = value.get("spec") if isinstance(value, Map) and item.document.kind == "HorizontalPodAutoscaler" else None
    target = spec.get("scaleTargetRef") if isinstance(spec, Map) else None
    if not isinstance(target, Map):
        return
    of_owner = [other for other in parsed_city.manifests if other.source.document is item.source.document]
    here = [other.document for other in of_owner if _namespace_of(other) == _namespace_of(item)]
    known = {(other.kind, other.name) for other in here}
    if (target.get("kind"), target.get("name")) not in known:
        word = "app" if isinstance(item.owner, App) else "platform"
        message = f"the {word} has no manifest of {target.get('kind')} {target.get('name')!r}"
        yield problem_at(item.document, ("spec", "scaleTargetRef", "name"), message, f"one of the {word}'s manifests")


def files(parsed_city: ParsedCity) -> Iterator[Problem]:
    """Each file is named once, by one document."""
    first: dict[str, str] = {}
    reported: set[tuple[str, int]] = set()
    for item in parsed_city.manifests:
        path: _Path = ("spec", "manifests", item.index)
        place = str(item.source.place(*path))
        known = first.setdefault(item.document.file, place)
        if known != place and (place, item.index) not in reported:
            reported.add((place, item.index))
            yield item.source.problem(path, f"{item.document.file} is named already ({known})", "each file once")


CHECKS: tuple[Check, ...] = (contents, names, files)
