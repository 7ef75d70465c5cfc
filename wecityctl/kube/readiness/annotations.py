"""What the user asked for on the object itself: not to wait, how long, and for what."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class WaitFor:
    """One wish of `pulumi.com/waitFor`: `jsonpath={.status.phase}=Running`, or `condition=Ready[=True]`."""

    kind: str  # jsonpath | condition
    expression: str
    value: str | None  # None: the path exists / the condition is True
    text: str


@dataclass(frozen=True, slots=True)
class WaitPlan:
    """Whether to wait for an object, for how long in seconds, and for what (empty: the kind's own rule)."""

    skip: bool
    timeout: float
    wait_for: tuple[WaitFor, ...] = ()


def wait_plan(obj: Mapping[str, Any], *, default_timeout: float = 600.0) -> WaitPlan:
    """Read pulumi.com/skipAwait, pulumi.com/timeoutSeconds and pulumi.com/waitFor. Raises `ConfigurationError`."""
    raise NotImplementedError
