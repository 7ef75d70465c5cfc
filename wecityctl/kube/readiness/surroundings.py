"""Reads the objects related to one that is waited for: by watches, and by single requests.

Missing permissions never cause a failure: what cannot be read is unknown.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from contextlib import AsyncExitStack
from typing import Any

from wecityctl.errors import WecityError
from wecityctl.kube.client import KubeClient, event_time
from wecityctl.kube.errors import Forbidden
from wecityctl.kube.observer import Feed, version_of
from wecityctl.kube.readiness.assess import group_kind
from wecityctl.kube.readiness.certain import template_labels
from wecityctl.kube.readiness.generic import one_line, spec_of
from wecityctl.kube.readiness.model import Related
from wecityctl.kube.readiness.network import backend_services, needs_endpoints
from wecityctl.kube.readiness.pods import crashed_container, matches
from wecityctl.kube.resource import Object, Objects, ResourceType, meta

POD = ResourceType("", "v1", "Pod", "pods", True)
ENDPOINT_SLICE = ResourceType("discovery.k8s.io", "v1", "EndpointSlice", "endpointslices", True)
_STORAGE_CLASS = ResourceType("storage.k8s.io", "v1", "StorageClass", "storageclasses", False)
_INGRESS_CLASS = ResourceType("networking.k8s.io", "v1", "IngressClass", "ingressclasses", False)
_SERVICE = ResourceType("", "v1", "Service", "services", True)
_REPLICA_SET = ResourceType("apps", "v1", "ReplicaSet", "replicasets", True)
_WORKLOADS = (
    ResourceType("apps", "v1", "Deployment", "deployments", True),
    ResourceType("apps", "v1", "StatefulSet", "statefulsets", True),
    ResourceType("apps", "v1", "DaemonSet", "daemonsets", True),
    ResourceType("batch", "v1", "Job", "jobs", True),
    ResourceType("batch", "v1", "CronJob", "cronjobs", True),
    _REPLICA_SET,
)
# Their controllers report rejected pods in events only.
_TOLD_IN_EVENTS = {("apps", "StatefulSet"), ("apps", "DaemonSet"), ("batch", "Job")}

_DEFAULT_CLASS = "ingressclass.kubernetes.io/is-default-class"
_LEGACY_CLASS = "kubernetes.io/ingress.class"
_LOG_LINES = 8
_LOG_SECONDS = 5.0


def pod_rule(obj: Object) -> Callable[[Object], bool] | None:
    """A predicate for the pods of a workload or Service; None for kinds without pods."""
    group, kind = group_kind(obj)
    spec, uid = spec_of(obj), meta(obj).get("uid")
    if (group, kind) in (("apps", "StatefulSet"), ("apps", "DaemonSet"), ("apps", "ReplicaSet"), ("batch", "Job")):
        return lambda pod: any(o.get("uid") == uid for o in meta(pod).get("ownerReferences") or ())
    if (group, kind) == ("apps", "Deployment"):
        selector = spec.get("selector") or {}
        return lambda pod: matches(meta(pod).get("labels") or {}, selector)
    if (group, kind) in (("", "Service"), ("", "ReplicationController")) and spec.get("selector"):
        plain = {"matchLabels": spec["selector"]}
        return lambda pod: matches(meta(pod).get("labels") or {}, plain)
    if (group, kind) == ("", "Pod"):
        return lambda pod: meta(pod).get("uid") == uid
    return None


class Surroundings:
    """The known state of one object's related objects. `wake` is set whenever any of it changes."""

    def __init__(
        self,
        client: KubeClient,
        obj: Object,
        wake: asyncio.Event,
        stack: AsyncExitStack,
        failed_before: Callable[[], str] = lambda: "",
    ) -> None:
        self._client = client
        self._obj = obj
        self._wake = wake
        self._stack = stack
        self._namespace = str(meta(obj).get("namespace") or "")
        self._pod_rule = pod_rule(obj)
        self._pods: Feed | None = None
        self._listed: Objects | None = None
        self._slices: Feed | None = None
        self._workloads: tuple[Feed, ...] = ()
        self._replica_sets: Feed | None = None
        self._refusals: tuple[str, ...] = ()
        self._failed_before = failed_before
        self._storage_class: Object | None = None
        self._class_hidden = False
        self._backends: frozenset[str] | None = None
        self._class_served: bool | None = None
        self.logs: dict[str, str] = {}
        self._log_asked = False
        self._tasks: set[asyncio.Task[None]] = set()

    async def open(self) -> None:
        """Start to read what the readiness rule needs."""
        group_and_kind = group_kind(self._obj)
        if group_and_kind == ("", "Service") and needs_endpoints(self._obj):
            name = meta(self._obj).get("name")
            self._slices = await self._follow(
                ENDPOINT_SLICE, lambda s: (meta(s).get("labels") or {}).get("kubernetes.io/service-name") == name
            )
        elif group_and_kind == ("", "PersistentVolumeClaim"):
            await self._ask(self._read_storage_class())
        elif group_and_kind == ("networking.k8s.io", "Ingress"):
            await self._ask(self._read_ingress())

    async def look_closer(self) -> None:
        """Start to read what only explains the result: the pods. Called if readiness takes more than a moment."""
        if self._pod_rule is not None and self._pods is None:
            self._pods = await self._follow(POD, self._pod_rule)
        if group_kind(self._obj) == ("networking.k8s.io", "Ingress"):
            await self._ask(self._read_ingress())
        elif group_kind(self._obj) == ("apps", "Deployment"):
            self._replica_sets = await self._follow(_REPLICA_SET, self._is_owned)
        elif group_kind(self._obj) == ("", "Service") and needs_endpoints(self._obj):
            self._workloads = tuple([await self._follow(rt, self._is_behind) for rt in _WORKLOADS])
            self._replica_sets = self._workloads[-1]

    async def look_again(self) -> None:
        """Read what cannot be watched. Called every few seconds after `look_closer`."""
        if group_kind(self._obj) in _TOLD_IN_EVENTS:
            await self._ask(self._read_refusals())

    def related(self) -> Related:
        """The current state, for the rules."""
        return Related(
            pods=self.pods(),
            endpoint_slices=self._endpoint_slices(),
            endpoints_hidden=bool(self.blind),
            storage_class=self._storage_class,
            storage_class_hidden=self._class_hidden,
            backends=self._backends,
            ingress_class_served=self._class_served,
            workloads=self._behind(),
            replica_sets=_objects(self._replica_sets),
            refusals=self._refusals,
            failed_before=self._failed_before(),
        )

    def pods(self) -> Sequence[Object] | None:
        """The object's pods; None while they are not read."""
        if self._pods is None or not self._pods.synced or self._pod_rule is None:
            return self._listed
        return [p for p in self._pods.objects.values() if self._pod_rule(p)]

    @property
    def blind(self) -> str:
        """Why the objects that the rule needs cannot be read; empty when they can."""
        error = self._slices.error if self._slices is not None else None
        return f"its endpoints cannot be looked at: {error.message}" if error is not None else ""

    def read_crash_logs(self) -> None:
        """Start reading the last lines of a crashed container; `wake` is set when they have arrived."""
        for pod in self.pods() or ():
            found = crashed_container(pod)
            # One log is read, once: it explains enough, and a crash loop writes the same lines every time.
            if found is None or self._log_asked:
                continue
            self._log_asked = True
            container, previous = found
            task = asyncio.create_task(self._read_log(pod, container, previous))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """Cancel running requests."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def last_words(self) -> list[str]:
        """Further details of a failure: last log lines, and warnings about the object and its pods."""
        lines: list[str] = []
        if self._pod_rule is not None and self._pods is None:
            await self._ask(self._list_pods())
        pods = list(self.pods() or ())
        self.read_crash_logs()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=_LOG_SECONDS)
        lines += self.logs.values()
        for each in [self._obj, *pods[:3]]:
            await self._ask(self._add_warnings(each, lines))
        return list(dict.fromkeys(lines))

    async def _follow(self, rt: ResourceType, rule: Callable[[Object], bool]) -> Feed:
        feed = await self._stack.enter_async_context(self._client.observer.follow(rt, self._namespace))
        self._stack.enter_context(feed.wake_on(rule, self._wake))
        # A feed that is already in sync does not wake anybody.
        self._wake.set()
        return feed

    def _endpoint_slices(self) -> Sequence[Object] | None:
        if self._slices is None or not self._slices.synced:
            return None
        name = meta(self._obj).get("name")
        return [
            s
            for s in self._slices.objects.values()
            if (meta(s).get("labels") or {}).get("kubernetes.io/service-name") == name
        ]

    def _is_owned(self, other: Object) -> bool:
        uid = meta(self._obj).get("uid")
        return any(owner.get("uid") == uid for owner in meta(other).get("ownerReferences") or ())

    def _is_behind(self, workload: Object) -> bool:
        selector = {"matchLabels": spec_of(self._obj).get("selector") or {}}
        owned = any(owner.get("controller") for owner in meta(workload).get("ownerReferences") or ())
        return not owned and matches(template_labels(workload), selector)

    def _behind(self) -> Sequence[Object] | None:
        """The workloads whose pods a Service selects; None until all kinds of them are known."""
        found = [_objects(feed) for feed in self._workloads]
        if not found or any(each is None for each in found):
            return None
        return [workload for each in found for workload in each or () if self._is_behind(workload)]

    async def _read_refusals(self) -> None:
        found = await self._client.events(self._namespace, str(meta(self._obj).get("uid")))
        # Older events are about an earlier spec.
        since = version_of(self._obj)
        self._refusals = tuple(
            one_line(str(event.get("message") or ""))
            for event in found
            if event.get("reason") == "FailedCreate" and version_of(event) > since
        )
        if self._refusals:
            self._wake.set()

    async def _read_storage_class(self) -> None:
        name = spec_of(self._obj).get("storageClassName")
        if name:
            try:
                self._storage_class = await self._client.get(_STORAGE_CLASS, str(name))
            except Forbidden:
                self._class_hidden = True

    async def _read_ingress(self) -> None:
        classes = await self._client.list(_INGRESS_CLASS)
        annotations = meta(self._obj).get("annotations") or {}
        name = spec_of(self._obj).get("ingressClassName") or annotations.get(_LEGACY_CLASS)
        self._class_served = any(
            meta(c).get("name") == name if name else (meta(c).get("annotations") or {}).get(_DEFAULT_CLASS) == "true"
            for c in classes
        )
        wanted = backend_services(self._obj)
        if wanted:
            services = await self._client.list(_SERVICE, self._namespace, metadata_only=True)
            self._backends = frozenset(str(meta(s).get("name")) for s in services) & wanted
        else:
            self._backends = frozenset()

    async def _list_pods(self) -> None:
        if self._pod_rule is not None:
            self._listed = [p for p in await self._client.list(POD, self._namespace) if self._pod_rule(p)]

    async def _add_warnings(self, obj: Object, lines: list[str]) -> None:
        found = await self._client.events(str(meta(obj).get("namespace") or ""), str(meta(obj).get("uid")))
        warnings = [e for e in found if e.get("type") == "Warning"]
        for event in sorted(warnings, key=event_time)[-2:]:
            what = f"{obj.get('kind', 'Pod')} {meta(obj).get('name')}"
            lines.append(one_line(f"{what}: {event.get('reason')}: {event.get('message') or ''}"))

    async def _read_log(self, pod: Object, container: str, previous: bool) -> None:
        name = str(meta(pod).get("name"))
        try:
            async with asyncio.timeout(_LOG_SECONDS):
                text = await self._client.logs(
                    self._namespace, name, container, tail_lines=_LOG_LINES, previous=previous
                )
        except (WecityError, TimeoutError):
            # Simulated and unreachable nodes have no logs: the exit code has to do.
            return
        if text.strip():
            self.logs[name] = f"{name}: last log lines of {container}:\n{text.rstrip()}"
            self._wake.set()

    async def _ask(self, question: Coroutine[Any, Any, None]) -> None:
        try:
            await question
        except WecityError:
            # Not allowed or not found: it stays unknown.
            return


def _objects(feed: Feed | None) -> Sequence[Object] | None:
    return list(feed.objects.values()) if feed is not None and feed.synced and feed.error is None else None
