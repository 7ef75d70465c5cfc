"""The event loop of a run: starts the stacks that the schedule allows, reads the workers' messages, forwards
interrupts.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from contextvars import copy_context
from dataclasses import dataclass, replace
from multiprocessing import Pipe
from multiprocessing.connection import Connection, wait
from threading import Thread
from typing import Protocol

from wecityctl.engine.process.interrupts import Interrupts
from wecityctl.engine.process.ipc import Cancel, Done, Job, PortRights, Report, Seen
from wecityctl.engine.process.outcome import describe
from wecityctl.engine.run.schedule import Schedule
from wecityctl.engine.workers.engine import Engine
from wecityctl.errors import WecityError
from wecityctl.model.events import Emit, Outcome, StackFinished, StackResult, StackStarted

CANCELLED = "cancelled by the user"
OUT_OF_TIME = "not started: the run's time was over"


class Task(Protocol):
    """The operation-specific steps that the loop calls for each stack."""

    def skip_reason(self, stack: str) -> StackResult | None:
        """Return the result of a stack that needs no run of the engine; `None` for others."""

    def job(self, stack: str, open_port: Callable[[PortRights], int]) -> Job | StackResult:
        """Return the stack's job, or its result if the engine has nothing to do.

        `open_port` opens a port of the built-in provider with the given rights, such as replacing objects that hold
        data.
        """

    def report(self, stack: str, report: Report) -> StackResult:
        """Turn the worker's report into the stack's result."""

    def has_outputs(self, stack: str) -> bool:
        """Whether the stack has outputs, of this run or an earlier one, that its dependants can use."""

    def serves(self, stack: str) -> Collection[str]:
        """Return the dependants that may run although this stack has failed."""

    def afterwards(self, stack: str) -> Callable[[], None] | None:
        """Return slow work to finish before the stack's dependants start; `None` for none. It must not raise."""


@dataclass(slots=True)
class _Running:
    stack: str
    port: int = 0


class Loop:
    """Runs all stacks of a schedule. A second interrupt kills the engines.

    `refused` has the exit code of the error for each stack that failed before its engine started.
    """

    def __init__(
        self, task: Task, schedule: Schedule, engine: Engine, interrupts: Interrupts, emit: Emit, parallelism: int
    ) -> None:
        self._task = task
        self._schedule = schedule
        self._engine = engine
        self._interrupts = interrupts
        self._emit = emit
        self._parallelism = max(1, parallelism)
        self._running: dict[Connection, _Running] = {}
        self._following: dict[Connection, StackResult] = {}
        self.refused: dict[str, int] = {}
        self._told = 0
        self._results: dict[str, StackResult] = {}

    def go(self) -> Mapping[str, StackResult]:
        """Block until every stack has ended; return the results by stack name."""
        while True:
            self._pass_interrupts()
            self._start_ready()
            if not self._running and not self._following:
                return self._results
            service = self._engine.state_service
            watched = [*self._running, *self._following, *([service] if service else [])]
            for ready in wait([*watched, self._interrupts.fileno()]):
                if ready is service:
                    # An engine would go on for a minute, and nothing that it does would be recorded.
                    raise self._engine.died("the state service has died")
                if isinstance(ready, Connection):
                    self._hear(ready)
            self._interrupts.clear()

    def _start_ready(self) -> None:
        progress = True
        while progress:
            progress = False
            for name, reason in self._schedule.blocked().items():
                by_user = self._interrupts.count and not self._interrupts.timed_out
                outcome: Outcome = "cancelled" if by_user else "blocked"
                self._settle(StackResult(name, outcome, reason=reason))
                progress = True
            for name in self._schedule.ready():
                if len(self._running) >= self._parallelism:
                    return
                self._start(name)
                progress = True

    def _start(self, name: str) -> None:
        self._schedule.start(name)
        self._emit(StackStarted(name))
        running = _Running(name)

        def open_port(rights: PortRights) -> int:
            running.port = self._engine.open_port(name, rights)
            return running.port

        try:
            left_out = self._task.skip_reason(name)
            if left_out is not None:
                self._settle(left_out)
                return
            job = self._task.job(name, open_port)
            if isinstance(job, StackResult):
                self._settle(job)
                return
            self._running[self._engine.start(job)] = running
        except WecityError as error:
            self._close_port(running)
            self.refused[name] = error.exit_code
            self._settle(
                StackResult(name, "failed", reason=error.message, errors=(describe(error),)),
            )

    def _hear(self, connection: Connection) -> None:
        if connection in self._following:
            connection.close()
            self._settle(self._following.pop(connection))
            return
        running = self._running[connection]
        try:
            message = connection.recv()
        except (EOFError, OSError):
            message = Done(Report(1, (), 0, (describe(self._engine.died()),), (), None, 0.0))
        if isinstance(message, Seen):
            self._emit(message.event)
        elif isinstance(message, Done):
            connection.close()
            del self._running[connection]
            self._close_port(running)
            self._follow(self._task.report(running.stack, self._settled(running.stack, message.report)))

    def _settled(self, stack: str, report: Report) -> Report:
        """Return the report after the stack's state is written; adds an error if that fails."""
        if problem := self._engine.close_state(stack):
            return replace(report, exit_code=report.exit_code or 1, errors=(*report.errors, problem))
        return report

    def _follow(self, result: StackResult) -> None:
        """Settle the result after its follow-up work, which runs in a thread while other stacks continue."""
        work = self._task.afterwards(result.stack) if result.outcome in ("succeeded", "unchanged") else None
        if work is None:
            self._settle(result)
            return
        ready, done = Pipe(duplex=False)

        def follow() -> None:
            with done:
                work()

        self._following[ready] = result
        # Copies the run's context, so that the run's time limit also applies in the thread.
        Thread(target=copy_context().run, args=(follow,), daemon=True).start()

    def _close_port(self, running: _Running) -> None:
        if running.port:
            self._engine.close_port(running.port)
            running.port = 0

    def _settle(self, result: StackResult) -> None:
        self._results[result.stack] = result
        succeeded = result.outcome in ("succeeded", "unchanged", "skipped")
        usable = result.outcome == "refused" and self._task.has_outputs(result.stack)
        serves = self._task.serves(result.stack) if result.outcome == "failed" else ()
        self._schedule.finish(result.stack, succeeded=succeeded, usable=usable, serves=serves)
        self._emit(StackFinished(result))

    def _pass_interrupts(self) -> None:
        while self._told < self._interrupts.count:
            self._told += 1
            timed_out = self._interrupts.timed_out
            self._schedule.stop(OUT_OF_TIME if timed_out else CANCELLED)
            for connection in self._running:
                # A worker that has just exited no longer reads; its last message is still to be received.
                with suppress(OSError):
                    connection.send(Cancel(timed_out))
            for connection in list(self._following):
                self._settle(self._following.pop(connection))
