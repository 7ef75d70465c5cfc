"""Waits by watching until an object is ready or deleted, and reports each new reason once.

`assess` evaluates readiness; `surroundings` selects the related objects to watch.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack, suppress
from typing import Final

from wecityctl.errors import WecityError
from wecityctl.kube.client import KubeClient
from wecityctl.kube.errors import Forbidden, NotFound
from wecityctl.kube.observer import Feed, version_of
from wecityctl.kube.readiness.annotations import WaitFor, all_met
from wecityctl.kube.readiness.assess import assess, group_kind
from wecityctl.kube.readiness.generic import condition, spec_of, told
from wecityctl.kube.readiness.model import NotReady, Readiness
from wecityctl.kube.readiness.pods import problems
from wecityctl.kube.readiness.surroundings import Surroundings
from wecityctl.kube.resource import Object, ResourceType, meta
from wecityctl.model.words import noun_for

Report = Callable[[str], None]

# Seconds. Most objects become ready sooner, and then no reason is reported.
_TELL_SECONDS = 0.4
# By then most objects are ready, also on a busy machine. A closer look only explains why one is not, and opens a watch
# for each kind of related objects. A wait that ends sooner looks earlier.
_CLOSER_LOOK_SECONDS = 5.0
_CLOSER_LOOK_SHARE = 0.4
_POLL_SECONDS = 2.0
_LOOK_AGAIN_SECONDS = 3.0
_SERVED_SECONDS = 15.0
# Kinds of which a stack waits for many in one namespace share one watch. For other kinds, only the object is watched.
_SHARED = frozenset(
    {
        ("apps", "Deployment"),
        ("apps", "StatefulSet"),
        ("apps", "DaemonSet"),
        ("apps", "ReplicaSet"),
        ("batch", "Job"),
        ("", "Pod"),
        ("", "Service"),
        ("", "PersistentVolumeClaim"),
        ("networking.k8s.io", "Ingress"),
    }
)


async def wait_ready(
    client: KubeClient,
    obj: Object,
    *,
    timeout: float,  # noqa: ASYNC109 - running out of time is an answer of its own, with reasons
    report: Report,
    wait_for: Sequence[WaitFor] = (),
    failed_before: Callable[[], str] = lambda: "",
) -> Object:
    """Wait until the object is ready; returns its live state. Makes no request if `obj`, the answer of apply, is ready.

    Raises `NotReady` after `timeout` seconds or when the object has failed permanently. Cancel the task to stop.
    Annotations are not read here: pass `wait_plan(inputs).wait_for`. `failed_before` names what else has failed in the
    run, whose dependents will not be created.
    """
    if (all_met(wait_for, obj) if wait_for else assess(obj)).state == "ready":
        return obj
    rt = await client.resource(str(obj.get("apiVersion")), str(obj.get("kind")))
    async with AsyncExitStack() as stack:
        waiter = _Waiter(client, rt, obj, report, wait_for, stack, failed_before)
        return await waiter.run(timeout)


async def wait_deleted(
    client: KubeClient,
    rt: ResourceType,
    name: str,
    namespace: str | None,
    uid: str,
    *,
    timeout: float,  # noqa: ASYNC109
    report: Report,
) -> None:
    """Wait until the object of that uid is deleted (another object of the same name counts as deleted).

    Raises `NotReady` with the blocking finalizers after `timeout` seconds. An empty uid matches any object.
    """
    namespace = (namespace or client.access.namespace) if rt.namespaced else None
    try:
        obj = await client.get(rt, name, namespace)
    except NotFound:
        return
    seen: set[str] = set()
    deadline = time.monotonic() + timeout
    async with AsyncExitStack() as stack:
        try:
            async with asyncio.timeout(timeout):
                source = await _Source.open(client, rt, obj, stack)
        except TimeoutError:
            raise NotReady(obj, (why_held(obj),), what="cannot be watched", timed_out=True) from None
        while uid in ("", meta(obj).get("uid")):
            held = why_held(obj)
            _tell(held, seen, report)
            left = deadline - time.monotonic()
            if left <= 0:
                raise NotReady(obj, (held,), what=f"is still there after {timeout:.0f} s", timed_out=True)
            newer = await source.next(obj, left)
            if newer is None:
                return
            obj = newer


# Conditions of a namespace that is being deleted. An extension API server that does not answer blocks it too.
_HOLDS: Final = (
    "NamespaceDeletionDiscoveryFailure",
    "NamespaceDeletionGroupVersionParsingFailure",
    "NamespaceContentRemaining",
    "NamespaceFinalizersRemaining",
    "NamespaceDeletionContentFailure",
)


def gone_at_once(answer: Object) -> bool:
    """Whether a DELETE's answer says that the object is gone (a Status, not the object being deleted)."""
    return answer.get("kind") == "Status"


def why_held(obj: Object) -> str:
    """What blocks the deletion of an object."""
    finalizers = [*(meta(obj).get("finalizers") or ()), *(spec_of(obj).get("finalizers") or ())]
    if not meta(obj).get("deletionTimestamp"):
        return "its deletion has not begun"
    if group_kind(obj) == ("", "Namespace"):
        found = [c for c in (condition(obj, k) for k in _HOLDS) if c is not None and c.get("status") == "True"]
        return "; ".join(told(c) for c in found) or "its contents are being deleted"
    if finalizers:
        return f"held by {noun_for(len(finalizers), 'finalizer')} {', '.join(map(str, finalizers))}"
    return "it is ending"


class _Source:
    """The latest state of one object: from a watch, or by polling where watching is not allowed."""

    def __init__(self, client: KubeClient, rt: ResourceType, obj: Object, wake: asyncio.Event) -> None:
        self._client = client
        self._rt = rt
        self._name = str(meta(obj).get("name"))
        self._namespace = meta(obj).get("namespace")
        self._feed: Feed | None = None
        self.wake = wake

    @classmethod
    async def open(
        cls, client: KubeClient, rt: ResourceType, obj: Object, stack: AsyncExitStack, wake: asyncio.Event | None = None
    ) -> _Source:
        """Start to watch."""
        self = cls(client, rt, obj, wake or asyncio.Event())
        alone = None if group_kind(obj) in _SHARED else self._name
        await self._follow(stack, alone)
        if alone is None and await self._refused():
            # The permission may be for this name only: watching one name needs the same rule as `get` with that name.
            await self._follow(stack, self._name)
        if await self._refused():
            self._feed = None
        return self

    async def next(self, obj: Object, seconds: float) -> Object | None:
        """The next state after `obj` (or `obj` itself when only a related object changed); None once it is deleted."""
        self.wake.clear()
        if self._feed is None:
            return await self._poll(seconds)
        newest = self.newest(obj)
        if newest is None or newest is not obj:
            return newest
        try:
            async with asyncio.timeout(max(seconds, 0.01)):
                await self.wake.wait()
        except TimeoutError:
            return obj
        return self.newest(obj)

    def newest(self, obj: Object) -> Object | None:
        """The latest state that the watch has. Raises the watch's error."""
        feed = self._feed
        if feed is None:
            return obj
        if isinstance(feed.error, NotFound):
            return None  # its kind is not served any more
        if feed.error is not None:
            raise feed.error
        found = feed.objects.get(self._name)
        if found is not None:
            return found if version_of(found) > version_of(obj) else obj
        # Absent means deleted only if the feed is not older than the known state.
        return None if feed.synced and feed.version >= version_of(obj) else obj

    async def _follow(self, stack: AsyncExitStack, alone: str | None) -> None:
        feed = await stack.enter_async_context(self._client.observer.follow(self._rt, self._namespace, alone))
        stack.enter_context(feed.wake_on_name(self._name, self.wake))
        self._feed = feed

    async def _refused(self) -> bool:
        """Wait for the feed's first answer; returns whether watching is forbidden."""
        feed = self._feed
        if feed is None:
            return False
        while not feed.synced and feed.error is None:
            self.wake.clear()
            await self.wake.wait()
        self.wake.set()
        return isinstance(feed.error, Forbidden)

    async def _poll(self, seconds: float) -> Object | None:
        await asyncio.sleep(min(_POLL_SECONDS, max(seconds, 0.01)))
        try:
            return await self._client.get(self._rt, self._name, self._namespace)
        except NotFound:
            return None


class _Waiter:
    """One wait for one object."""

    def __init__(
        self,
        client: KubeClient,
        rt: ResourceType,
        obj: Object,
        report: Report,
        wait_for: Sequence[WaitFor],
        stack: AsyncExitStack,
        failed_before: Callable[[], str],
    ) -> None:
        self._client = client
        self._rt = rt
        self._obj = obj
        self._report = report
        self._wait_for = wait_for
        self._stack = stack
        self._seen: set[str] = set()
        self._wake = asyncio.Event()
        self._around = Surroundings(client, obj, self._wake, stack, failed_before)
        # Since when the object has continuously looked as if it had failed; 0 if it does not.
        self._failing_since = 0.0

    async def run(self, timeout: float) -> Object:  # noqa: ASYNC109
        began = time.monotonic()
        self._stack.push_async_callback(self._around.close)
        try:
            async with asyncio.timeout(timeout):
                source = await _Source.open(self._client, self._rt, self._obj, self._stack, self._wake)
                if not self._wait_for:
                    await self._around.open()
        except TimeoutError:
            raise self._out_of_time((self._readiness().reason,), timeout) from None
        look_at = began + min(_CLOSER_LOOK_SECONDS, _CLOSER_LOOK_SHARE * timeout)
        looked = False
        while True:
            readiness = self._readiness()
            waited = time.monotonic() - began
            if readiness.state == "ready":
                await self._until_served(timeout - waited)
                return self._obj
            if self._has_failed_long_enough(readiness):
                what = f"has failed: {readiness.reason}"
                raise NotReady(self._obj, await self._reasons(readiness), what=what, timed_out=False)
            if waited >= min(_TELL_SECONDS, timeout):
                self._tell(readiness)
            if waited >= timeout:
                raise self._out_of_time(await self._reasons(readiness), timeout)
            # Wake for the earliest of: reporting a reason, a closer look, the timeout.
            due = [moment for moment in (_TELL_SECONDS, look_at - began, timeout) if moment > waited]
            newer = await source.next(self._obj, min(due) - waited)
            if newer is None:
                reason = "it was deleted while it was waited for"
                raise NotReady(self._obj, (reason,), what="is gone", timed_out=False)
            self._obj = newer
            if time.monotonic() >= look_at:
                await (self._around.look_again() if looked else self._around.look_closer())
                looked = True
                look_at = time.monotonic() + _LOOK_AGAIN_SECONDS

    def _has_failed_long_enough(self, readiness: Readiness) -> bool:
        """Whether the object has failed, and for long enough to count."""
        if readiness.state != "failed":
            self._failing_since = 0.0
            return False
        now = time.monotonic()
        self._failing_since = self._failing_since or now
        return now - self._failing_since >= readiness.patience

    def _out_of_time(self, reasons: Sequence[str], seconds: float) -> NotReady:
        return NotReady(self._obj, reasons, what=f"is not ready after {seconds:.0f} s", timed_out=True)

    def _readiness(self) -> Readiness:
        if self._wait_for:
            return all_met(self._wait_for, self._obj)
        if self._around.blind:
            self._say(self._around.blind)
        return assess(self._obj, self._around.related())

    def _tell(self, readiness: Readiness) -> None:
        self._say(readiness.reason)
        for problem in problems(self._around.pods() or ()):
            if problem not in readiness.reason:
                self._say(problem)
        self._around.read_crash_logs()
        for text in self._around.logs.values():
            self._say(text)

    def _say(self, reason: str) -> None:
        _tell(reason, self._seen, self._report)

    async def _reasons(self, readiness: Readiness) -> tuple[str, ...]:
        words: list[str] = []
        with suppress(WecityError):
            words = await self._around.last_words()
        lines = [readiness.reason, *problems(self._around.pods() or ()), *words]
        return tuple(dict.fromkeys(line for line in lines if line))

    async def _until_served(self, seconds: float) -> None:
        """Wait until the kind of an established CustomResourceDefinition is served, which takes a moment."""
        if group_kind(self._obj) != ("apiextensions.k8s.io", "CustomResourceDefinition"):
            return
        spec = spec_of(self._obj)
        kind = str((spec.get("names") or {}).get("kind"))
        served = next((v.get("name") for v in spec.get("versions") or () if v.get("served")), None)
        deadline = time.monotonic() + min(seconds, _SERVED_SECONDS)
        while served and not await self._client.serves(f"{spec.get('group')}/{served}", kind):
            if time.monotonic() > deadline:
                return
            await asyncio.sleep(0.05)


def _tell(reason: str, seen: set[str], report: Report) -> None:
    if reason and reason not in seen:
        seen.add(reason)
        report(reason)
