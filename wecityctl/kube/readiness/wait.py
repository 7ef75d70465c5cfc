"""Waiting by watching: until an object is ready, or until it is gone, telling each new reason once."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from wecityctl.kube.client import KubeClient
from wecityctl.kube.readiness.annotations import WaitFor
from wecityctl.kube.resource import Object, ResourceType


async def wait_ready(
    client: KubeClient,
    obj: Object,
    *,
    timeout: float,
    report: Callable[[str], None],
    wait_for: Sequence[WaitFor] = (),
) -> Object:
    """The live object once it is ready. `obj` is the answer of apply: if that is ready already, nothing is asked.

    Raises `NotReady` when `timeout` seconds have passed or the object has failed for good. Cancel it by cancelling the
    task. Annotations are not looked at here: pass `wait_plan(inputs).wait_for`.
    """
    raise NotImplementedError


async def wait_deleted(
    client: KubeClient,
    rt: ResourceType,
    name: str,
    namespace: str | None,
    uid: str,
    *,
    timeout: float,
    report: Callable[[str], None],
) -> None:
    """Return once the object of that uid is gone (another object of the same name counts as gone).

    Raises `NotReady` naming the finalizers that hold it when `timeout` seconds have passed.
    """
    raise NotImplementedError
