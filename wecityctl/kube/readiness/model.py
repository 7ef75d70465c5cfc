"""What readiness is made of: the verdict, the neighbours a verdict may need, and the failure to become ready.

No rules and no requests.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from wecityctl.errors import ExitCode, WecityError
from wecityctl.kube.resource import Object, describe

State = Literal["ready", "waiting", "failed"]


@dataclass(frozen=True, slots=True)
class Readiness:
    """The verdict on an object, with one line for people (empty when ready)."""

    state: State
    reason: str = ""


READY = Readiness("ready")


def waiting(reason: str) -> Readiness:
    """Not yet, and why."""
    return Readiness("waiting", reason)


def failed(reason: str) -> Readiness:
    """It will not become ready by itself."""
    return Readiness("failed", reason)


@dataclass(frozen=True, slots=True)
class Related:
    """Neighbours of an object, as far as they are known. None means not looked at."""

    pods: Sequence[Object] | None = None
    events: Sequence[Object] = field(default=())
    endpoint_slices: Sequence[Object] | None = None
    storage_class: Object | None = None


class NotReady(WecityError):  # noqa: N818 - named as the contract of readiness names it
    """The object was made but is not live: out of time (`timed_out`) or failed. `obj` is its last known state."""

    def __init__(self, obj: Object, reasons: Sequence[str], *, timed_out: bool, waited: float) -> None:
        verb = f"is not ready after {waited:.0f} s" if timed_out else "has failed"
        super().__init__(f"{describe(obj)} {verb}", details="\n".join(reasons))
        self.obj = obj
        self.reasons = tuple(reasons)
        self.timed_out = timed_out
        self.exit_code = ExitCode.TIMEOUT if timed_out else ExitCode.DEPLOYMENT
