"""Waits until a created object is ready, and reports to the engine what it waits for.

The readiness rules are in `wecityctl.kube.readiness`.
"""

from __future__ import annotations

from typing import Any, Final

from wecityctl.errors import CancelledError, WecityError
from wecityctl.kube.readiness import NotReady, wait_plan, wait_ready
from wecityctl.provider.instance import Instance, Target
from wecityctl.provider.properties import plain
from wecityctl.provider.redaction import redact
from wecityctl.provider.state import recorded

DEFAULT_TIMEOUT: Final = 600.0


class PartialError(WecityError):
    """The object exists and is not ready. The state records it with the reasons, and the next run tries again."""

    def __init__(
        self,
        identifier: str,
        outputs: dict[str, Any],
        reasons: tuple[str, ...],
        *,
        inputs: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(reasons[0] if reasons else "the object is not live")
        self.identifier = identifier
        self.outputs = outputs
        self.reasons = reasons
        self.inputs = inputs


class UnsettledError(WecityError):
    """Waiting ended before the object was ready; `live` is the object as last seen."""

    def __init__(self, live: dict[str, Any], reasons: tuple[str, ...]) -> None:
        super().__init__(reasons[0])
        self.live = live
        self.reasons = reasons


def timeout_of(inputs: dict[str, Any], requested: float) -> float:
    """Seconds that an operation may take: from the resource option, else from the annotation, else ten minutes."""
    return requested if requested > 0 else wait_plan(plain(inputs), default_timeout=DEFAULT_TIMEOUT).timeout


async def settle(
    provider: Instance, target: Target, live: dict[str, Any], inputs: dict[str, Any], *, seconds: float
) -> dict[str, Any]:
    """Wait until the object is ready, and return it as it is to be recorded.

    Raises `UnsettledError` when it fails, the time is up, or the run is cancelled.
    """
    plan = wait_plan(plain(inputs), default_timeout=seconds)
    if plan.skip:
        return live
    waiter = wait_ready(
        provider.client,
        live,
        timeout=seconds,
        report=lambda reason: provider.log.status(target.urn, redact(reason, inputs)),
        wait_for=plan.wait_for,
        failed_before=lambda: ", ".join(provider.memory.failed[:3]),
    )
    try:
        return recorded(live, await provider.cancellation.run(waiter))
    except NotReady as error:
        raise UnsettledError(
            recorded(live, error.obj),
            (error.message, *(reason for reason in error.reasons if reason not in error.message)),
        ) from error
    except CancelledError as error:
        raise UnsettledError(live, ("the run was cancelled while waiting for it to become ready",)) from error
    except WecityError as error:
        # The object exists: an error while watching it must not keep it out of the state.
        raise UnsettledError(live, (f"its readiness could not be followed: {error.message}",)) from error
