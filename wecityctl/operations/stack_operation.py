"""The steps shared by operations on stacks. Each operation's module lists the steps that it takes, in order."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from wecityctl import cancellation
from wecityctl.clusters import must_start, open_clusters, open_provisioned, told_of_their_clouds
from wecityctl.engine.context.options import RunOptions
from wecityctl.engine.process.interrupts import time_limit
from wecityctl.engine.run.execution import run
from wecityctl.engine.state import releases
from wecityctl.engine.state.backend import Backend, open_backend
from wecityctl.engine.workers.engine import Engine
from wecityctl.errors import ExitCode, WecityError, error_text
from wecityctl.inputs import Clusters
from wecityctl.model.events import Emit, Event, Progress, RunFinished, RunResult, StackFinished
from wecityctl.operations.cloud_moves import moves_within, require_confirmed
from wecityctl.operations.deployment_rights import duties, require_rights
from wecityctl.operations.deprovision import end_access
from wecityctl.operations.entry_urls import entry_urls
from wecityctl.operations.interconnect import link_clouds
from wecityctl.operations.manifest_places import manifest_places
from wecityctl.operations.namespace_conflicts import without_namespace_conflicts
from wecityctl.operations.node_registries import trust_registries
from wecityctl.operations.policy_gate import PolicyGate
from wecityctl.operations.rename_hints import rename_hints
from wecityctl.operations.restores_under_way import require_no_restore
from wecityctl.operations.rollouts.planning import planned_moves, shares_of
from wecityctl.operations.state_copies import copy_states
from wecityctl.operations.status.addresses import app_addresses
from wecityctl.operations.volume_changes import require_volumes_kept

if TYPE_CHECKING:
    from wecityctl.model.releases import AppReleases
    from wecityctl.model.rollouts import AppKey
    from wecityctl.operations.rollouts.moves import Move as AppMove
    from wecityctl.operations.status.values import AppAddress
    from wecityctl.placement import Move
    from wecityctl.session import Session

_CLOUDS = "the city's clouds to answer"


@dataclass(slots=True)
class StackOperation:
    """One operation in progress on the stacks selected in `session.plan`.

    `records` are those of releases as it began, and `rollouts` what it does with apps that are not, or not at once, as
    the files say; `session` has them applied.

    The caller executes its steps in order; a step raises the error that must stop the operation.
    """

    session: Session
    options: RunOptions
    emit: Emit
    engine: Engine
    policies: PolicyGate
    backend: Backend
    records: Mapping[AppKey, AppReleases] = field(default_factory=dict)
    rollouts: tuple[AppMove, ...] = ()
    clusters: Clusters = field(default_factory=Clusters)
    moves: tuple[Move, ...] = ()

    def find_moves(self) -> None:
        """Find moves between clouds. Raises `ConfigurationError` for an `up` without confirmation of them."""
        self.moves = moves_within(self.session.placement.moves, self.session.plan)
        if self.options.operation == "up":
            require_confirmed(self.moves, self.session.city.name, confirmed=self.options.confirm_all)

    def require_volumes_kept(self) -> None:
        """Raise `InvalidCityError` for volumes that would have to shrink or change their storage class."""
        session = self.session
        require_volumes_kept(session.plan, session.catalogue, session.positions, self.backend)

    def open_clusters(self, *, start: bool = False) -> None:
        """Connect to the city's clouds; with `start`, start the embedded ones after the policy evaluation."""
        city = self.session.said
        if start and must_start(city):
            self.policies.hold(self.emit)
        self.clusters = open_clusters(city, self.session.catalogue, self.emit, start=start, backend=self.backend)
        cancellation.check()

    def exclude_namespace_conflicts(self) -> None:
        """Mark clusters as failed on which somebody else has one of the city's namespaces."""
        self.clusters = without_namespace_conflicts(self.session.city, self.session.plan.placement, self.clusters)

    def find_given_stacks(self, only: tuple[str, ...]) -> None:
        """Find the stacks that this identity may not change; they are used as they are.

        Raises `AuthenticationError` if it may not change one that the user asked for.
        """
        plan = self.session.plan
        asked = plan.matching(only) if only else [stack.name for stack in plan.stacks]
        self.options = replace(self.options, given=duties(plan, asked, self.options.operation, self.clusters).given)

    def require_a_cloud(self) -> None:
        """Raise the error of the first cloud if no cloud can be reached."""
        failed = told_of_their_clouds(self.clusters.failed)
        clouds = self.session.city.clouds
        if failed and not any(cloud.has_landing_zone or cloud.name not in failed for cloud in clouds):
            raise next(iter(failed.values()))

    def link_clouds(self) -> None:
        """Create the connections between the city's embedded clouds, after the policy evaluation since these are
        changes.
        """
        if sum(cloud.provider == "local" for cloud in self.session.city.clouds) > 1:
            self.policies.hold(self.emit)
        link_clouds(self.session.city, self.session.plan.interconnects, self.clusters, self.emit)

    def require_rights(self) -> None:
        """Raise `AuthenticationError` if a deployer lacks a right for the changes, before anything is changed."""
        if not self.options.given:
            return
        foreseen = run(
            self.session,
            replace(self.options, operation="preview"),
            replace(self.clusters, stopped={}),
            self.backend,
            lambda event: None,
            engine=self.engine,
        )
        require_rights(self.session.plan, foreseen, self.clusters.found, self.options.files)

    def require_no_restore(self) -> None:
        """Raise `LockedError` while a Job restores data of the city that no command waits for any more."""
        require_no_restore(self.session.city, self.clusters)

    def run_stacks(self) -> RunResult:
        """Run the selected stacks after the policy evaluation; return the result with this host's additions."""
        return self.finished(self.run_once())

    def finished(self, result: RunResult) -> RunResult:
        """Emit the end of the operation with its result, and return it; an `up` leaves a copy of the states before."""
        if self.options.operation == "up" and not self.options.given and result.exit_code != ExitCode.CANCELLED:
            told = copy_states(self.session.city, self.backend, self.emit)
            result = replace(result, notes=(*result.notes, *((told,) if told else ())))
        self.emit(RunFinished(result))
        return result

    def run_once(self, claim: Callable[[], None] = lambda: None) -> RunResult:
        """Run the selected stacks; an operation may take several runs.

        `claim` is called once the stacks are locked, before the first one is touched; an exception from it stops the
        run.
        """
        cancellation.check()

        def before() -> None:
            self.policies.hold(self.emit)
            claim()

        result = run(
            self.session,
            self.options,
            self.clusters,
            self.backend,
            self._emit_before_end,
            open_provisioned=open_provisioned,
            before=before,
            engine=self.engine,
        )
        if self.options.operation in ("up", "destroy") and not self.options.given:
            result = self._end_access(result)
        # The engine does not know how this host reaches the city.
        return self._completed(result)

    def _end_access(self, result: RunResult) -> RunResult:
        """Lock the accounts whose use has ended, of this run and of others that did not come to it."""
        if result.exit_code == ExitCode.CANCELLED:
            return result
        patience = self.options.timeouts.lock
        return end_access(self.session, self.clusters, self.backend, self.emit, result, patience=patience)

    def _emit_before_end(self, event: Event) -> None:
        brings_up = self.options.operation == "up"
        if brings_up and isinstance(event, StackFinished) and event.result.outcome in ("succeeded", "unchanged"):
            trust_registries(self.session, self.clusters, event.result.stack, self.emit)
        if not isinstance(event, RunFinished):
            self.emit(event)

    def _completed(self, result: RunResult) -> RunResult:
        keep = self.options.operation == "up"
        said = (item.text for item in self.rollouts if item.text)
        notes = (*map(str, self.moves), *said, *rename_hints(self.session.city, result), *result.notes)
        notes = (*notes, *manifest_places(self.session, result))
        try:
            routes = [item for item in app_addresses(self.session.plan, self.backend) if item.way == "route"]
            urls = entry_urls(self.session, self.clusters.found, self.backend, keep=keep)
            if self.session.plan.is_part and all(item.layer != "entry" for item in self.session.plan.stacks):
                # Other tenants' addresses are not what was asked for.
                urls = tuple(url for url in urls if url.host in {item.address.partition("/")[0] for item in routes})
                notes = (*notes, *(self._not_served(item) for item in routes if keep and not item.served))
        except (WecityError, OSError) as error:
            # The stacks have run: their result must not be lost.
            urls, notes = (), (*notes, f"how to reach the city's hosts is not known: {error_text(error)}")
        return self.policies.in_result(replace(result, notes=notes, entry_urls=tuple(url.command for url in urls)))

    def _not_served(self, route: AppAddress) -> str:
        return (
            f"the entry point does not serve {route.address} of {route.app} yet, for it was not part of this run: "
            f"wecityctl up {self.session.arguments}"
        )


@contextmanager
def begin(
    session: Session,
    options: RunOptions,
    emit: Emit,
    *,
    check_policies: bool = False,
    advice_shown: bool = False,
    rollouts_of: frozenset[AppKey] | None = None,
) -> Iterator[StackOperation]:
    """Start an operation on the stacks selected in the session's plan; everything that it started ends with the block.

    The policy rules are evaluated on the whole city in the background. Only the rollouts of the apps in `rollouts_of`
    go on (`None`: of all). Raises `TimedOutError` if the block exceeds the
    time limit in the options.
    """
    options = replace(
        options,
        provider=session.city.kubernetes_provider,
        files=session.arguments,
        take_over=options.take_over or session.city.take_over,
    )
    backend = open_backend(session.city)
    records = releases.read_all(backend, heads=True)
    rollouts = planned_moves(session, backend, options.operation, only=rollouts_of, records=records)
    session = session.with_shares(shares_of(rollouts))
    whole = replace(session, plan=session.plan.whole)
    with bounded(options.timeouts.run, emit) as bounded_emit, Engine(options.program) as engine:
        policies = PolicyGate(whole, options.operation, advice_shown, options.keep_going)
        try:
            if check_policies:
                policies.begin(engine)
            yield StackOperation(session, options, bounded_emit, engine, policies, backend, records, rollouts)
        finally:
            policies.close()


@contextmanager
def bounded(seconds: float, emit: Emit) -> Iterator[Emit]:
    """Limit the block to `seconds` (0: no limit), and yield its `emit`. The error names the last step outside the
    stacks.
    """
    last = _CLOUDS

    def note(event: Event) -> None:
        nonlocal last
        if isinstance(event, Progress):
            last = _CLOUDS if event.done else f"{event.subject}: {event.phase} {event.detail}".rstrip()
        emit(event)

    with time_limit(seconds, lambda: f"it waited for {last}"):
        yield note
