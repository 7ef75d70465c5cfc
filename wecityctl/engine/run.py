"""Runs a plan: decides what has to run, runs it side by side in the order of its graph, and sums up.

Blocks until all has ended. Sends events, never prints; every decision is a module of its own, this one joins them.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import ExitStack
from multiprocessing.connection import Connection, wait
from typing import Any

from wecityctl.engine import secret_store
from wecityctl.engine.backend import Backend
from wecityctl.engine.execute import Engine, cli_path
from wecityctl.engine.interrupts import Interrupts
from wecityctl.engine.jobs import JobMaker, provider_registrations
from wecityctl.engine.locks import break_dead, city_lock
from wecityctl.engine.options import RunOptions
from wecityctl.engine.outcome import exit_code_of, result_of
from wecityctl.engine.pending import resolve_pending
from wecityctl.engine.provider_choice import ProviderChoice, choose_provider
from wecityctl.engine.schedule import Schedule
from wecityctl.engine.state import StackState
from wecityctl.engine.wire import Cancel, Done, Job, Report, Seen
from wecityctl.errors import WecityError
from wecityctl.inputs import Cluster, StackInputs
from wecityctl.model.catalogue import Catalogue
from wecityctl.model.events import (
    Diagnostic,
    Outcome,
    RunFinished,
    RunResult,
    RunStarted,
    Sink,
    StackFinished,
    StackResult,
    StackStarted,
)
from wecityctl.model.outputs import Outputs, outputs_from_json
from wecityctl.plan import Plan, Stack


def run(
    plan: Plan,
    options: RunOptions,
    clusters: Mapping[str, Cluster],
    catalogue: Catalogue,
    images: Mapping[str, str],
    backend: Backend,
    sink: Sink,
) -> RunResult:
    """Run `options.operation` on the plan's stacks.

    Problems of one stack are in its result; `WecityError` is raised for what stops the run before it begins.
    """
    return _Run(plan, options, clusters, catalogue, images, backend, sink).execute()


class _Run:
    def __init__(
        self,
        plan: Plan,
        options: RunOptions,
        clusters: Mapping[str, Cluster],
        catalogue: Catalogue,
        images: Mapping[str, str],
        backend: Backend,
        sink: Sink,
    ) -> None:
        self._plan = plan
        self._options = options
        self._clusters = clusters
        self._catalogue = catalogue
        self._images = images
        self._backend = backend
        self._sink = sink
        self._begun = time.monotonic()
        self._store = secret_store.SecretStore(backend)
        self._stacks = {stack.name: stack for stack in plan.stacks}
        self._states: dict[str, StackState | None] = {}
        self._outputs: dict[str, Mapping[str, Any] | None] = {}
        self._results: dict[str, StackResult] = {}
        self._secrets: dict[str, str] = {}
        self._reports: dict[str, Report] = {}
        self._schedule = Schedule({})

    def execute(self) -> RunResult:
        self._sink(
            RunStarted(
                self._options.operation,
                self._plan.city.name,
                tuple(self._stacks),
                {name: stack.depends_on for name, stack in self._stacks.items()},
            )
        )
        provider = choose_provider(self._options.provider)
        with ExitStack() as held:
            if self._options.operation != "preview":
                held.enter_context(city_lock(self._backend))
            self._run_all(provider)
        return self._finish(provider)

    def _run_all(self, provider: ProviderChoice) -> None:
        with Engine(self._options.program) as engine, Interrupts() as interrupts:
            engine.warm_up()
            self._backend.unlock()
            self._read_states()
            self._read_secrets()
            self._schedule = self._make_schedule()
            maker = JobMaker(self._backend, engine, self._options, str(cli_path()))
            _Loop(self, engine, maker, provider, interrupts).go()

    def _read_states(self) -> None:
        for name in self._stacks:
            state = self._backend.read_state(name)
            self._states[name] = state
            self._outputs[name] = state.outputs if state is not None else None

    def _read_secrets(self) -> None:
        names = secret_store.needed(self._plan)
        have = self._store.read()
        self._secrets = dict(have)
        if self._options.operation in ("preview", "up"):
            secret_store.require_given(names, have)
        if self._options.operation == "up":
            self._secrets = secret_store.with_generated(names, have)

    def _make_schedule(self) -> Schedule:
        needs = {name: stack.depends_on for name, stack in self._stacks.items()}
        soft = {
            name: tuple(need for need in stack.depends_on if self._layer(need) == "tenant")
            for name, stack in self._stacks.items()
            if stack.layer == "entry"
        }
        good = [name for name in self._stacks if self.typed(name) is not None]
        return Schedule(needs, soft, good, self._options.keep_going, self._options.fail_fast)

    def _layer(self, name: str) -> str:
        return self._stacks[name].layer if name in self._stacks else ""

    def typed(self, name: str) -> Outputs | None:
        """The stack's outputs of this version, from this run or from its state."""
        data = self._outputs.get(name)
        if data is None or name not in self._stacks:
            return None
        try:
            return outputs_from_json(self._stacks[name].layer, dict(data))
        except (ValueError, TypeError):
            return None

    def inputs(self, stack: Stack, provider: ProviderChoice) -> StackInputs:
        """What the stack's program is given."""
        return StackInputs(
            self._plan.city,
            stack,
            self._plan.placement,
            self._catalogue,
            self._clusters.get(stack.cloud),
            {need: self.typed(need) for need in stack.depends_on if self._layer(need) != "secrets"},
            self._images,
            provider.version,
            {name: self._secrets[name] for name in stack.secrets if name in self._secrets},
        )

    def clear_the_way(self, name: str) -> None:
        """Remove what a run that was killed left in the way of the next one."""
        if self._options.operation == "preview":
            return
        for lock in break_dead(self._backend, name):
            self._sink(Diagnostic(name, "info", f"removed the lock of a dead run ({lock})"))
        state = self._states[name]
        if state is not None and state.pending:
            for line in resolve_pending(self._backend, state, self._clusters.get(self._stacks[name].cloud)):
                self._sink(Diagnostic(name, "info", line))
            self._states[name] = self._backend.read_state(name)

    def make_job(self, name: str, maker: JobMaker, provider: ProviderChoice, port: int) -> Job:
        """The worker's job for a stack of the plan."""
        stack, state = self._stacks[name], self._states[name]
        operation = self._options.operation
        if stack.layer == "secrets":
            return maker.make(name, operation, state=state, values=self._secrets)
        providers = (
            provider_registrations(self._backend, state, self._clusters)
            if operation == "destroy" and state is not None
            else ()
        )
        inputs = self.inputs(stack, provider) if operation != "destroy" else None
        return maker.make(name, operation, state=state, inputs=inputs, providers=providers, port=port)

    def needs_engine(self, name: str) -> bool:
        """Whether the stack has to be run at all."""
        if self._stacks[name].layer == "secrets":
            return self._options.operation == "up" and self._secrets != self._store.read()
        return self._options.operation in ("preview", "up") or self._states[name] is not None

    def needs_provider(self, name: str) -> bool:
        """Whether the stack may have to do with a cluster."""
        state = self._states[name]
        has_providers = state is not None and any(resource.is_provider for resource in state.resources)
        return has_providers or self._stacks[name].cloud in self._clusters

    def start(self, name: str) -> None:
        self._schedule.start(name)
        self._sink(StackStarted(name))

    def end(self, name: str, report: Report) -> None:
        """Take a worker's report."""
        self._reports[name] = report
        if report.outputs is not None:
            self._outputs[name] = report.outputs
        self.settle(result_of(name, report))

    def settle(self, result: StackResult) -> None:
        """Take a stack's result."""
        self._results[result.stack] = result
        self._schedule.finish(result.stack, succeeded=result.outcome in ("succeeded", "unchanged", "skipped"))
        self._sink(StackFinished(result))

    @property
    def schedule(self) -> Schedule:
        return self._schedule

    @property
    def options(self) -> RunOptions:
        return self._options

    def _finish(self, provider: ProviderChoice) -> RunResult:
        results = tuple(self._results[name] for name in self._stacks if name in self._results)
        result = RunResult(
            self._options.operation,
            self._plan.city.name,
            results,
            time.monotonic() - self._begun,
            exit_code_of(results, self._reports, expect_no_changes=self._options.expect_no_changes),
            provider=str(provider),
        )
        self._sink(RunFinished(result))
        return result


class _Loop:
    """The part of a run that waits: workers' messages and the user's interrupts."""

    def __init__(
        self, run: _Run, engine: Engine, maker: JobMaker, provider: ProviderChoice, interrupts: Interrupts
    ) -> None:
        self._run = run
        self._engine = engine
        self._maker = maker
        self._provider = provider
        self._interrupts = interrupts
        self._running: dict[Connection, tuple[str, int]] = {}
        self._told = 0

    def go(self) -> None:
        while True:
            self._start_ready()
            if not self._running:
                break
            for ready in wait([*self._running, self._interrupts.fileno()]):
                if isinstance(ready, Connection):
                    self._hear(ready)
            self._interrupts.clear()
            self._pass_interrupts()

    def _start_ready(self) -> None:
        progress = True
        while progress:
            progress = False
            for name, reason in self._run.schedule.blocked().items():
                outcome: Outcome = "cancelled" if self._interrupts.count else "blocked"
                self._run.settle(StackResult(name, outcome, reason=reason))
                progress = True
            for name in self._run.schedule.ready():
                if len(self._running) >= max(1, self._run.options.parallelism):
                    return
                self._start(name)
                progress = True

    def _start(self, name: str) -> None:
        self._run.start(name)
        if not self._run.needs_engine(name):
            self._run.settle(StackResult(name, "unchanged"))
            return
        port = 0
        try:
            self._run.clear_the_way(name)
            if self._provider.kind == "builtin" and self._run.needs_provider(name):
                port = self._engine.open_port(name)
            job = self._run.make_job(name, self._maker, self._provider, port)
            self._running[self._engine.start(job)] = (name, port)
        except WecityError as error:
            self._run.settle(StackResult(name, "failed", reason=error.message, errors=(describe(error),)))

    def _hear(self, connection: Connection) -> None:
        name, port = self._running[connection]
        try:
            message = connection.recv()
        except (EOFError, OSError):
            error = self._engine.died()
            message = Done(Report(1, (), 0, (describe(error),), (), None, 0.0))
        if isinstance(message, Seen):
            self._run._sink(message.event)
        elif isinstance(message, Done):
            connection.close()
            del self._running[connection]
            if port:
                self._engine.close_port(port)
            self._run.end(name, message.report)

    def _pass_interrupts(self) -> None:
        while self._told < self._interrupts.count:
            self._told += 1
            self._run.schedule.stop("cancelled by the user")
            for connection in self._running:
                connection.send(Cancel())


def describe(error: WecityError) -> str:
    """The error as one text."""
    return "\n".join(part for part in (error.message, error.details, error.resolution) if part)
