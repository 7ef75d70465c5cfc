"""What readiness is made of: the policy report, the neighbours a policy report may need, and the failure to become
ready.

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
    """The policy report on an object, with one line for people (empty when there is nothing to say).

    `patience` is for how many seconds a failure must last before it is believed.
    """

    state: State
    reason: str = ""
    patience: float = 0.0


READY = Readiness("ready")


def waiting(reason: str) -> Readiness:
    """Not yet, and why."""
    return Readiness("waiting", reason)


def failed(reason: str) -> Readiness:
    """It will not become ready by itself."""
    return Readiness("failed", reason)


@dataclass(frozen=True, slots=True)
class Related:
    """Neighbours of an object, as far as they are known. None means not looked at.

    `endpoints_hidden` says that we may not see a Service's endpoints, `storage_class` is a PVC's class, `backends` are
    the names of existing Services in an Ingress's namespace, `ingress_class_served` is whether its IngressClass exists.
    `workloads` make the pods that a Service selects, `replica_sets` are those of the namespace, `refusals` what the API
    server said of pods that it did not make, `failed_before` what else has failed in this run.
    """

    pods: Sequence[Object] | None = None
    endpoint_slices: Sequence[Object] | None = None
    endpoints_hidden: bool = False
    storage_class: Object | None = None
    backends: frozenset[str] | None = None
    ingress_class_served: bool | None = None
    workloads: Sequence[Object] | None = None
    replica_sets: Sequence[Object] | None = None
    refusals: Sequence[str] = ()
    failed_before: str = ""


Rule = Callable[[Object, Related], Readiness]


class NotReady(WecityError):  # noqa: N818 - named as the contract of readiness names it
    """The object was made but is not live: out of time (`timed_out`) or failed. `obj` is its last known state."""

    def __init__(self, obj: Object, reasons: Sequence[str], *, what: str, timed_out: bool) -> None:
        super().__init__(f"{describe(obj)} {what}", details="\n".join(reasons))
        self.obj = obj
        self.reasons = tuple(reasons)
        self.timed_out = timed_out
        self.exit_code = ExitCode.TIMEOUT if timed_out else ExitCode.DEPLOYMENT
