"""Previews stacks on a cloud whose landing zone is not up yet, from what their programs register without a cluster."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import replace

from wecityctl.engine.context.context import Context
from wecityctl.engine.process.event_log import is_shown
from wecityctl.engine.workers.forecast import Forecast
from wecityctl.inputs import Cluster, StackInputs
from wecityctl.model.events import StackResult
from wecityctl.model.words import counted

Recorder = Callable[[tuple[StackInputs, ...]], Mapping[str, Forecast]]
_NO_SECRET = "redacted"  # noqa: S105 - what stands for each secret where none is asked for


class PendingClouds:
    """The stacks of a run whose clouds have no cluster yet. The first request computes all of them."""

    def __init__(self, context: Context, recorder: Recorder) -> None:
        self._context = context
        self._record = recorder
        self._found: Mapping[str, Forecast] | None = None
        self._seconds = 0.0

    def preview(self, stack: str) -> StackResult:
        """Return what the stack would create once its landing zone is up."""
        found = self._all()[stack]
        if found.error:
            return StackResult(stack, "failed", reason=found.error, errors=(found.error,))
        changes = tuple(change for change in found.changes if is_shown(change.type))
        reason = (
            f"would create {counted(len(changes), 'resource')}, once the landing zone of {self._cloud(stack)} is up"
        )
        return StackResult(stack, "succeeded", changes, seconds=self._seconds, reason=reason)

    def notes(self) -> tuple[str, ...]:
        """Return one line for each cloud that has no cluster yet."""
        counts: dict[str, list[int]] = {}
        for stack, found in (self._found or {}).items():
            shown = sum(is_shown(change.type) for change in found.changes)
            counts.setdefault(self._cloud(stack), []).append(shown)
        return tuple(
            f"cloud {cloud} is not up yet: {counted(sum(sizes), 'resource')} of {counted(len(sizes), 'stack')} on it "
            "were worked out without a cluster; its own defaults and refusals show when it is there"
            for cloud, sizes in counts.items()
        )

    def _cloud(self, stack: str) -> str:
        return self._context.stacks[stack].cloud

    def _all(self) -> Mapping[str, Forecast]:
        if self._found is None:
            begun = time.monotonic()
            self._found = self._record(
                tuple(self._inputs(name) for name in self._context.stacks if self._context.is_on_pending_cloud(name))
            )
            self._seconds = (time.monotonic() - begun) / len(self._found)
        return self._found

    def _inputs(self, name: str) -> StackInputs:
        stack = self._context.stacks[name]
        return replace(
            self._context.inputs(stack, with_secrets=False),
            cluster=Cluster.offline(self._context.plan.city.cloud(stack.cloud)),
            secrets=dict.fromkeys(stack.secrets, _NO_SECRET),
        )
