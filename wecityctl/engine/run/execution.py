"""Runs a plan: decides which stacks need a run, runs them in parallel in dependency order, and summarises the results.

Blocks until everything has ended. Emits events and never prints. The decisions are made in other modules; this one
combines them.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, nullcontext
from datetime import UTC, datetime
from pathlib import Path

from wecityctl.engine.cluster.drift import DriftControl
from wecityctl.engine.cluster.remaining import remaining_notes
from wecityctl.engine.cluster.undeclared import UndeclaredControl
from wecityctl.engine.cluster.up_to_date import UpToDateCheck
from wecityctl.engine.context import secret_store
from wecityctl.engine.context.context import Context
from wecityctl.engine.context.ending_accounts import accounts_in
from wecityctl.engine.context.fingerprint import tools_digest
from wecityctl.engine.context.options import RunOptions
from wecityctl.engine.process.interrupts import Interrupts
from wecityctl.engine.process.ipc import Report
from wecityctl.engine.process.outcome import exit_code_of
from wecityctl.engine.process.provider_choice import choose_provider
from wecityctl.engine.removal import removal
from wecityctl.engine.removal.keeping import Keeping
from wecityctl.engine.removal.removal import guarded_urns
from wecityctl.engine.run.jobs import JobMaker
from wecityctl.engine.run.loop import Loop
from wecityctl.engine.run.pending_clouds import PendingClouds
from wecityctl.engine.run.replaced_clusters import forget_old_clusters, require_same_clusters
from wecityctl.engine.run.schedule import Schedule
from wecityctl.engine.run.tasks import DestroyTask, OpenProvisioned, UpdateTask
from wecityctl.engine.state import activity
from wecityctl.engine.state.abandoned_locks import break_dead, is_left_behind
from wecityctl.engine.state.backend import Backend
from wecityctl.engine.state.checkpoint import Deployment
from wecityctl.engine.state.run_locks import ContendedError, RunLocks, part_of_city, whole_city
from wecityctl.engine.state.store_file import disk_error
from wecityctl.engine.workers.engine import Engine, cli_path
from wecityctl.errors import AuthenticationError, WecityError, error_text
from wecityctl.inputs import Clusters
from wecityctl.listeners.users import other_users
from wecityctl.model.events import Diagnostic, Emit, RunFinished, RunResult, RunStarted, StackResult
from wecityctl.model.outputs import EntryOutputs
from wecityctl.model.stacknames import LAYERS
from wecityctl.model.words import counted
from wecityctl.plan import Plan
from wecityctl.session import Session

_WAITS = "waiting until another run has ended: {}"
UNGUARDED = "the engine's ports are open to the other users of this machine while it runs, because {}"


def run(
    session: Session,
    options: RunOptions,
    clusters: Clusters,
    backend: Backend,
    emit: Emit,
    *,
    open_provisioned: OpenProvisioned | None = None,
    before: Callable[[], None] = lambda: None,
    engine: Engine | None = None,
) -> RunResult:
    """Run `options.operation` on the stacks selected in the session's plan, and return the results.

    Stacks on a cloud in `clusters.failed` fail with its error; the others continue. For clouds in `clusters.stopped` a
    preview is computed from the state, while `destroy` and `refresh` are refused.

    `open_provisioned` connects to the cluster that a landing zone has just created. `before` is called once while the
    engine loads, before the first stack is touched; an exception from it stops the run. `engine` may be passed in
    already loading, and is then not closed.

    `preview`, `up` and `refresh` process the plan in its order. `destroy` deletes exactly the selected stacks in
    reverse order and, if the plan covers the whole city, also the stacks that were removed from the configuration.
    Errors of single stacks are in their results; `WecityError` is raised for errors that stop the run before it begins.
    """
    begun, plan = time.monotonic(), session.plan
    provider = choose_provider(options.provider)
    depends_on = {stack.name: stack.depends_on for stack in plan.stacks}
    emit(RunStarted(options.operation, plan.city.name, tuple(depends_on), depends_on))
    alone: frozenset[str] = frozenset()
    try:
        with ExitStack() as kept_open:
            engine = engine or kept_open.enter_context(Engine(options.program))
            while True:
                # Lock before reading anything, so that changes by another run are seen.
                with _locked(backend, plan, options, alone, emit) as locks:
                    # Stacks that were removed from the configuration are handled only by a run that may change the
                    # whole city.
                    leftovers = () if options.given else removal.left_over(backend.list_stacks(), plan.whole)
                    kept = tuple(name for name in leftovers if not options.confirms(name))
                    context = Context(session, options, clusters, backend, provider, kept, locks)
                    runner = _Runner(context, emit, leftovers, open_provisioned, before)
                    try:
                        runner.go(engine)
                        break
                    except ContendedError as contended:
                        # Nothing has been changed yet. The set grows with each attempt and is bounded by the stacks of
                        # the plan.
                        alone |= contended.stacks
    except OSError as error:
        raise disk_error(error, Path(str(error.filename or ""))) from error
    result = RunResult(
        options.operation,
        plan.city.name,
        tuple(runner.results.values()),
        time.monotonic() - begun,
        exit_code_of(
            tuple(runner.results.values()),
            runner.reports,
            runner.refused,
            expect_no_changes=options.expect_no_changes,
            timed_out=runner.timed_out,
        ),
        tuple(name for name in leftovers if name not in runner.removed),
        runner.urls(),
        tuple(runner.notes),
        str(context.provider),
        starts=context.will_start() if options.operation == "preview" else (),
        part=plan.is_part or bool(options.given or options.targets),
    )
    emit(RunFinished(result))
    return result


def _locked(
    backend: Backend, plan: Plan, options: RunOptions, alone: Collection[str], emit: Emit
) -> AbstractContextManager[RunLocks]:
    """Return the locks to start with: the whole city's for a full run, otherwise those of the selected stacks and their
    dependencies.
    """
    if options.operation == "preview":
        return nullcontext(RunLocks())

    def waiting(who: str) -> None:
        emit(Diagnostic("", "info", _WAITS.format(who.replace("\n", ", "))))

    # A new cluster for a cloud affects every stack.
    if (not plan.is_part and not options.given) or options.new_clusters:
        return whole_city(backend, options.timeouts.lock, waiting)
    shared = {name for stack in plan.stacks for name in (stack.name, *stack.depends_on)}
    return part_of_city(backend, shared, alone, options.timeouts.lock, waiting)


class _Runner:
    """The steps of one run and their results."""

    def __init__(
        self,
        context: Context,
        emit: Emit,
        leftovers: tuple[str, ...],
        open_provisioned: OpenProvisioned | None,
        before: Callable[[], None],
    ) -> None:
        self._context = context
        self._before = before
        self._open_provisioned = open_provisioned
        self._options = context.options
        self._emit = emit
        self._leftovers = leftovers
        # The stacks of the city that this run does not include.
        self._elsewhere = {stack.name for stack in context.plan.whole.stacks}.difference(context.stacks)
        self._up_to_date = UpToDateCheck(
            context.plan,
            context.options,
            context.clusters,
            context.backend,
            context.provider,
            lambda: tools_digest(cli_path()),
        )
        self.results: dict[str, StackResult] = {}
        self.reports: dict[str, Report] = {}
        self.refused: dict[str, int] = {}
        self.notes: list[str] = []
        self.removed: tuple[str, ...] = ()
        self._deleted: set[str] = set()
        self._begun = time.time()
        self.timed_out = False

    def go(self, engine: Engine) -> None:
        with Interrupts() as interrupts:
            maker = JobMaker(self._context.backend, engine, self._options)
            if self._options.operation == "destroy":
                self._destroy(engine, maker, interrupts)
            else:
                self._forward(engine, maker, interrupts)
            self.timed_out = interrupts.timed_out
        if self._options.operation != "preview":
            self._afterwards("old updates were not deleted", self._prune)
        if self._options.operation in ("up", "destroy"):
            self._afterwards("`wecityctl history` lacks what this run has put back or removed", self._note_activities)
            states = self._context.backend.states
            if states is not None and not states.swaps_safely():
                self.notes.append(
                    f"the server of {states.shown_url} takes no condition for a write (If-Match): of two runs that are"
                    " made to overlap, as by `unlock` while one hangs, the later write of a state counts"
                )

    def _note_activities(self) -> None:
        activity.note(self._context.backend, self._activities(), self._context.plan.city.state.keep_updates)

    def _prune(self) -> None:
        for stack in self.reports:
            self._context.backend.store.prune(stack, self._context.plan.city.state.keep_updates)

    def _afterwards(self, lacking: str, act: Callable[[], None]) -> None:
        """Do what follows once stacks have run. A failure becomes a note and does not change the result of the run."""
        try:
            act()
        except (WecityError, OSError) as error:
            self.notes.append(f"{lacking}: {error_text(error)}")

    def _activities(self) -> Iterator[activity.Activity]:
        """Yield what the run did that the engine's own history does not show."""
        for name, result in self.results.items():
            objects = activity.touched_in(result)
            if name not in self._deleted and not objects:
                continue
            yield activity.Activity(
                name,
                "destroy" if name in self._deleted else "update",
                "succeeded" if result.outcome in ("succeeded", "unchanged", "skipped") else "failed",
                self._begun,
                result.seconds,
                sum(change.op == "delete" for change in result.changes) if name in self._deleted else 0,
                objects,
            )

    def _forward(self, engine: Engine, maker: JobMaker, interrupts: Interrupts) -> None:
        context = self._context
        self._up_to_date.load()
        for name in context.stacks:
            context.learn_record(name, self._up_to_date.record(name))
        pending_clouds = PendingClouds(context, engine.forecast)
        drift = DriftControl(context, self._emit)
        forward = UpdateTask(
            context, maker, self._up_to_date, self._emit, pending_clouds, self._open_provisioned, drift
        )
        work = [name for name in context.stacks if self._is_work(forward, name)]
        needed = bool(work)
        self._require_given(work)
        if self._options.operation != "preview":
            context.locks.claim(self._to_change(work))
        if needed:
            if not all(forward.is_settled(name) for name in work):
                self._warm_up(engine)
            # Slow read-only preparation runs while the engine loads and before `before` blocks.
            context.backend.unlock()
            if self._options.operation == "up":
                context.backend.salt()
            if self._options.operation in ("preview", "up"):
                drift.look(name for name in work if not self._up_to_date.is_probed(name))
        self._before()
        if needed:
            self._note_guard(engine)
            self._check(engine)
        self._loop(forward, self._forward_schedule(), engine, interrupts)
        if self._options.operation == "up":
            # A deleted network policy or other security object is restored even if the run of another stack has failed.
            self.results |= {
                name: forward.settle_blocked(result)
                for name, result in self.results.items()
                if result.outcome in ("blocked", "failed", "refused")
            }
        self.reports |= forward.reports
        self.notes += [*pending_clouds.notes(), *forward.doubts]
        if self._options.operation == "preview":
            states = {name: context.state(name) for name in self.results}
            note = removal.confirmation_note(self.results.values(), states, context.plan.city.name)
            self.notes += [note] if note else []
            self.notes += self._ending_access()
        # Only an `up` makes the objects match the files, so a refresh does not write records that let a later `up` skip
        # stacks.
        if self._options.operation == "up" and forward.good:
            self._afterwards(
                "the next run examines all stacks, as their records were not written",
                lambda: self._up_to_date.note(context.backend, forward.good, forward.looks),
            )
        if self._options.operation == "up":
            self._afterwards("how often objects were restored was not noted", drift.save)
        self._remove_leftovers(engine, maker, interrupts)
        if self._options.operation in ("preview", "up"):
            self._settle_undeclared(forward.with_kept, engine)

    def _ending_access(self) -> Iterator[str]:
        """Which accounts in capabilities an `up` of these files would lock."""
        found = {
            account.owner
            for name in self.results
            for account in accounts_in(name, self._context.state(name)) - self._context.planned_accounts
        }
        if found:
            yield f"no longer used, and locked by `up` with its data kept: {', '.join(sorted(found))}"

    def _to_change(self, work: Iterable[str]) -> frozenset[str]:
        """Return the stacks that this run may change: those that need a run, their dependants, confirmed leftovers, and
        stacks that an interrupted run has left behind.
        """
        context, states = self._context, self._context.backend.states
        found = {*work, *(name for name in self._leftovers if self._options.confirms(name))}
        if states is not None:
            found |= {name for name in context.stacks if is_left_behind(states, name)}
        found -= self._options.given
        for name, stack in context.stacks.items():
            if found.intersection(stack.depends_on):
                found.add(name)
        return frozenset(found)

    def _require_given(self, work: Iterable[str]) -> None:
        """Raise `AuthenticationError` if a stack needs a secret that only a run of the read-only (`given`) stacks can
        create.
        """
        context, given = self._context, self._options.given
        if not given:
            return
        if any(context.layer(name) == "secrets" for name in given):
            context.leave_certificates()
            needed = {value for name in work for value in context.stacks[name].secrets}
            if missing := sorted(needed.intersection(context.new_secrets())):
                raise AuthenticationError(
                    f"the secret store lacks {counted(len(missing), 'value')} that {min(work)} needs, and these "
                    "credentials may not add to it",
                    details="\n".join(missing),
                    resolution=f"have the city's operator run `wecityctl up {self._options.files} "
                    f"--only {context.stacks[min(work)].subject}` once",
                )

    def _settle_undeclared(self, with_kept: Mapping[str, Deployment], engine: Engine) -> None:
        """Handle undeclared objects. Runs last, when the states contain everything that the run has created."""
        if self._options.given:
            self.notes.append("not looked for undeclared objects: these credentials may not list them")
            return
        if any(result.outcome == "cancelled" for result in self.results.values()):
            return
        control = UndeclaredControl(
            self._context, self._up_to_date, self._emit, self._elsewhere, with_kept, lambda: self._registered(engine)
        )
        self.results = control.settle(self.results)
        self.notes += control.notes

    def _registered(self, engine: Engine) -> Iterator[str]:
        """Yield the URNs that the programs of all stacks of the city would register; programs that
        fail are left out.
        """
        asked = [
            self._context.inputs(stack, with_secrets=False)
            for stack in self._context.plan.whole.stacks
            if LAYERS[stack.layer].needs_cluster
        ]
        for found in engine.forecast(tuple(asked)).values():
            yield from found.urns

    @staticmethod
    def _is_work(forward: UpdateTask, stack: str) -> bool:
        try:
            return forward.skip_reason(stack) is None
        except WecityError:
            # The error is reported when the stack's turn comes; the other stacks continue.
            return False

    def _warm_up(self, engine: Engine) -> None:
        context = self._context
        is_builtin = context.provider.kind == "builtin"
        engine.warm_up(
            provider=is_builtin and any(map(context.needs_provider, context.stacks)),
            states=context.backend.states is not None,
        )

    def _note_guard(self, engine: Engine) -> None:
        """Warn if other users of this machine can connect to the ports that this run listens on."""
        others = other_users() if engine.unguarded else ()
        if others:
            text = f"{UNGUARDED.format(engine.unguarded)}: {', '.join(others[:3])}{' …' if others[3:] else ''}"
            self._emit(Diagnostic("", "warning", text))

    def _check(self, engine: Engine) -> None:
        """Check the preconditions of any change. Not called if no stack needs a run."""
        context, options = self._context, self._options
        self._check_locks(name for name in context.stacks if name not in options.given)
        require_same_clusters(context)
        if options.operation == "up":
            forget_old_clusters(context, self._emit)
        if options.operation in ("preview", "up"):
            needed = secret_store.needed(context.plan)
            secret_store.require_given(needed, context.kept_secrets(), options.files)
            store = secret_store.SecretStore(context.backend).stack
            if not options.confirms(store):
                secret_store.require_not_lost(
                    needed,
                    context.kept_secrets(),
                    self._up_to_date.noted_secrets(),
                    store,
                    confirm=f"wecityctl up {options.files} --confirm={context.plan.city.name}",
                )
            self._check_certificates()
        if options.operation == "up":
            self._check_deletions(engine)

    def _check_certificates(self) -> None:
        """Check the certificates supplied by the user. Those issued by the city need no check."""
        context = self._context
        if context.plan.city.entry.tls.certificates:
            from wecityctl.engine.secrets.certificates import require_readable

            require_readable(context.plan, context.kept_secrets(), datetime.now(UTC))

    def _check_deletions(self, engine: Engine) -> None:
        context, options = self._context, self._options
        held = [
            state
            for name in context.stacks
            if not options.confirms(name)
            and name not in options.given
            and (state := context.state(name)) is not None
            and guarded_urns(state)
        ]
        expected = options.expected
        if expected is None:
            # Equal inputs register equal resources, so only stacks with changed inputs need a forecast.
            changed = {
                state.stack
                for state in held
                if not self._up_to_date.has_same_inputs(context.inputs(context.stacks[state.stack], with_secrets=False))
            }
            if not changed:
                return
            asked = [
                context.inputs(stack, with_secrets=False)
                for name, stack in context.stacks.items()
                if LAYERS[stack.layer].has_program and (name in changed or context.typed(name) is None)
            ]
            forecasts = engine.forecast(tuple(asked))
            expected = {name: found.urns for name, found in forecasts.items() if not found.error}
        removal.require_confirmed(held, options, expected)

    def _check_locks(self, stacks: Iterable[str]) -> None:
        if self._options.operation == "preview":
            return
        for name in stacks:
            for lock in break_dead(self._context.backend, name):
                self._emit(Diagnostic(name, "info", f"removed the lock of a dead run ({lock})"))

    def _forward_schedule(self) -> Schedule:
        context = self._context
        needs = {name: stack.depends_on for name, stack in context.stacks.items()}
        soft = {
            name: tuple(need for need in stack.depends_on if context.layer(need) == "tenant")
            for name, stack in context.stacks.items()
            if stack.layer == "entry"
        }
        good = [name for name in context.stacks if context.typed(name)] if self._options.keep_going else []
        return Schedule(needs, soft, good, self._options.keep_going, self._options.fail_fast)

    def _remove_leftovers(self, engine: Engine, maker: JobMaker, interrupts: Interrupts) -> None:
        if self._options.operation != "up" or not self._leftovers:
            return
        confirmed = tuple(name for name in self._leftovers if self._options.confirms(name))
        waiting = [name for name in self._leftovers if name not in confirmed]
        if waiting:
            self.notes.append(f"no longer in the files, removed only with --confirm: {', '.join(waiting)}")
        if any(result.outcome not in ("succeeded", "unchanged", "skipped") for result in self.results.values()):
            if confirmed:
                self.notes.append(f"not removed, because the run did not succeed: {', '.join(confirmed)}")
            return
        order = removal.removal_order(confirmed, self._context.plan)
        self._take_down(order, engine, maker, interrupts, Keeping(self._context))

    def _destroy(self, engine: Engine, maker: JobMaker, interrupts: Interrupts) -> None:
        context = self._context
        context.locks.claim((*context.stacks, *(self._leftovers if not self._elsewhere else ())))
        self._warm_up(engine)
        context.backend.unlock()
        self._note_guard(engine)
        self._check_locks(context.stacks)
        require_same_clusters(context)
        forget_old_clusters(context, self._emit)
        # A run on part of a city does not delete the secret store or stacks that were removed from the configuration.
        names = [name for name in context.stacks if not self._elsewhere or context.layer(name) != "secrets"]
        keeping = Keeping(context)
        if not self._elsewhere:
            names += self._leftovers
            names += [name for name in keeping.stacks() if name not in names]
        self._take_down(removal.removal_order(names, context.plan), engine, maker, interrupts, keeping)
        self.notes += [*keeping.doubts, *remaining_notes(context, self.results)]

    def _take_down(
        self,
        order: Mapping[str, tuple[str, ...]],
        engine: Engine,
        maker: JobMaker,
        interrupts: Interrupts,
        keeping: Keeping,
    ) -> None:
        if not order:
            return
        backward = DestroyTask(self._context, maker, self._up_to_date, self._emit, keeping)
        self.notes += backward.look_beside(order)
        schedule = Schedule(order, fail_fast=self._options.fail_fast)
        self._loop(backward, schedule, engine, interrupts)
        self.reports |= backward.reports
        self._deleted |= backward.deleted
        self.removed = tuple(
            name
            for name in order
            if name in self.results
            and self.results[name].outcome in ("succeeded", "skipped")
            and name not in backward.kept
        )

    def _loop(self, task: UpdateTask | DestroyTask, schedule: Schedule, engine: Engine, interrupts: Interrupts) -> None:
        loop = Loop(task, schedule, engine, interrupts, self._emit, self._options.parallelism)
        self.results |= loop.go()
        self.refused |= loop.refused

    def urls(self) -> tuple[str, ...]:
        """Return the URLs at which the city answers; empty unless the operation is `up`."""
        found: list[str] = []
        for name, stack in self._context.stacks.items():
            outputs = self._context.typed(name) if stack.layer == "entry" and name in self.results else None
            if isinstance(outputs, EntryOutputs) and self._options.operation == "up":
                scheme = "https" if outputs.tls else "http"
                found += [f"{scheme}://{host}{f':{port}' if port else ''}/" for host, port in outputs.addresses]
        return tuple(found)
