"""Data types of readiness: the result, the related objects that a rule may need, and the error.

No rules and no requests.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from wecityctl.errors import ExitCode, WecityError
from wecityctl.kube.resource import Object, describe

State = Literal["ready", "waiting", "failed"]


@dataclass(frozen=True, slots=True)
class Readiness:
    """The result of a readiness rule, with one line for the user (empty when there is nothing to say).

    `patience` is for how many seconds a failure must last before it counts.
    """

    state: State
    reason: str = ""
    patience: float = 0.0


READY = Readiness("ready")


def waiting(reason: str) -> Readiness:
    """Not ready yet, and why."""
    return Readiness("waiting", reason)


def failed(reason: str) -> Readiness:
    """The object will not become ready by itself."""
    return Readiness("failed", reason)


@dataclass(frozen=True, slots=True)
class Related:
    """Objects related to the assessed one, as far as known. None means that they were not read.

    `endpoints_hidden`: a Service's endpoints may not be read. `storage_class`: a PVC's class, which may not be read
    if it is `storage_class_hidden`. `backends`: names of
    existing Services in an Ingress's namespace. `ingress_class_served`: whether the IngressClass exists. `workloads`:
    those whose pods a Service selects. `replica_sets`: those of the namespace. `refusals`: the API server's reasons for
    pods that it rejected. `failed_before`: which other resources have failed in this run.
    """

    pods: Sequence[Object] | None = None
    endpoint_slices: Sequence[Object] | None = None
    endpoints_hidden: bool = False
    storage_class: Object | None = None
    storage_class_hidden: bool = False
    backends: frozenset[str] | None = None
    ingress_class_served: bool | None = None
    workloads: Sequence[Object] | None = None
    replica_sets: Sequence[Object] | None = None
    refusals: Sequence[str] = ()
    failed_before: str = ""


Rule = Callable[[Object, Related], Readiness]


class NotReady(WecityError):  # noqa: N818 - named as the contract of readiness names it
    """The object exists but is not ready: timed out (`timed_out`) or failed. `obj` is its last known state."""

    def __init__(self, obj: Object, reasons: Sequence[str], *, what: str, timed_out: bool) -> None:
        super().__init__(f"{describe(obj)} {what}", details="\n".join(reasons))
        self.obj = obj
        self.reasons = tuple(reasons)
        self.timed_out = timed_out
        self.exit_code = ExitCode.TIMEOUT if timed_out else ExitCode.DEPLOYMENT
