"""Decides which stack may start when: a pure state machine over the plan's graph, without clock or processes.

`finish` takes the outcome of a stack; `blocked` returns the stacks that can no longer run, with the reason.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field


@dataclass(slots=True)
class Schedule:
    """The order of a run. `needs` has each stack's dependencies; those in `soft` may fail without blocking the stack.

    With `keep_going`, a stack whose dependency failed still runs if `last_good` contains the dependency, which then has
    outputs from before. With `fail_fast`, nothing starts after a failure or a refusal.
    """

    needs: Mapping[str, Collection[str]]
    soft: Mapping[str, Collection[str]] = field(default_factory=dict)
    last_good: Collection[str] = ()
    keep_going: bool = False
    fail_fast: bool = False
    _done: dict[str, bool] = field(default_factory=dict)
    _serves: dict[str, Collection[str]] = field(default_factory=dict)
    _started: set[str] = field(default_factory=set)
    _stopped: str = ""

    def ready(self) -> list[str]:
        """Return the stacks that may start now, in the plan's order."""
        if self._stopped:
            return []
        return [name for name in self._waiting() if self._settled(name) and not self._reason(name)]

    def blocked(self) -> dict[str, str]:
        """Return the stacks that will not run, with the reason. Each is returned once."""
        found: dict[str, str] = {}
        for name in self._waiting():
            reason = self._stopped or (self._reason(name) if self._settled(name) else "")
            if reason:
                found[name] = reason
                self._started.add(name)
                self._done[name] = False
        return found

    def start(self, name: str) -> None:
        """Note that `name` is running."""
        self._started.add(name)

    def finish(self, name: str, *, succeeded: bool, usable: bool = False, serves: Collection[str] = ()) -> None:
        """Record how `name` ended.

        `usable`: it did not succeed, but its dependants may start. Otherwise `serves` names the dependants that still
        may.
        """
        self._serves[name] = serves
        self._started.add(name)
        self._done[name] = succeeded or usable
        if not succeeded and self.fail_fast:
            self._stopped = f"not started: {name} did not succeed"

    def stop(self, reason: str) -> None:
        """Start no more stacks."""
        self._stopped = self._stopped or reason

    @property
    def is_over(self) -> bool:
        """Whether every stack has ended or is blocked."""
        return all(name in self._done for name in self.needs)

    def _waiting(self) -> list[str]:
        return [name for name in self.needs if name not in self._started]

    def _settled(self, name: str) -> bool:
        return all(need in self._done for need in self.needs[name] if need in self.needs)

    def _reason(self, name: str) -> str:
        soft = self.soft.get(name, ())
        failed = [
            need
            for need in self.needs[name]
            if self._done.get(need) is False and need not in soft and name not in self._serves.get(need, ())
        ]
        if not failed or (self.keep_going and all(need in self.last_good for need in failed)):
            return ""
        return f"needs {', '.join(failed)}, which did not succeed"
