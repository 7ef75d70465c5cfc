"""Makes the steps of the rollouts of an `up`: a run for each, a pause after it, and an abort if pods are not ready."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from wecityctl import cancellation
from wecityctl.engine.state import releases
from wecityctl.engine.state.engine_lock import LockedError
from wecityctl.engine.state.releases import ReleasesChangedError
from wecityctl.errors import AuthenticationError, CancelledError, ExitCode
from wecityctl.model.events import Diagnostic, Progress, RunResult
from wecityctl.model.releases import AppReleases
from wecityctl.model.rollouts import AppKey
from wecityctl.operations.rollouts.moves import Move, taken_back
from wecityctl.operations.rollouts.outcomes import (
    StackNames,
    after,
    canary_failure,
    canary_objects,
    merged,
    only_canaries_failed,
    succeeded,
    with_failure,
)
from wecityctl.operations.rollouts.planning import now, planned_moves, restart_pauses, shares_of, stacks_of
from wecityctl.operations.rollouts.recording import record_releases
from wecityctl.operations.rollouts.removal import without_old
from wecityctl.operations.rollouts.watching import image_digest, unready

if TYPE_CHECKING:
    from wecityctl.model.city import App
    from wecityctl.operations.stack_operation import StackOperation
    from wecityctl.session import Session

# Seconds between two looks at a canary's pods and its record, and for how long its pods may be unready.
_LOOK, _PATIENCE = 2.0, 10.0
# How often a run begins again because another one has changed a record, before it gives up.
_ATTEMPTS = 300


def run_rollouts(work: StackOperation, *, only: frozenset[AppKey] | None = None) -> RunResult:
    """Run the selected stacks, and make the steps of their apps' rollouts (of those in `only`) until they have ended.

    Returns the result of all runs together, with exit code 4 if a canary was aborted by itself. Raises what a run
    raises before it begins, and `CancelledError` for an interrupt during a pause: the rollout stays at its step.
    """
    everything = not work.session.plan.is_part
    result = _Driver(work, only).run() if work.rollouts else record_releases(work, work.run_once())
    return work.finished(without_old(work, result, everything=everything))


@dataclass(slots=True)
class _Driver:
    work: StackOperation
    only: frozenset[AppKey] | None
    result: RunResult | None = None
    aborted: bool = False
    # When a canary was first seen unready, in seconds of the monotonic clock.
    unready: dict[AppKey, float] = field(default_factory=dict)
    _selection: frozenset[str] = frozenset()

    def run(self) -> RunResult:
        """Make one run after the other until no rollout goes on; return the result of all."""
        self._require_entry()
        self._selection = frozenset(stack.name for stack in self.work.session.plan.stacks)
        moves, attempts = self.work.rollouts, 0
        while True:
            # The first run is of everything that the user has selected.
            self._select(moves, everything=self.result is None)
            try:
                goes_on = self._make(moves)
            except (ReleasesChangedError, LockedError) as error:
                attempts += 1
                # That the city is locked at the beginning is the user's to know; later, another run has taken over.
                if attempts > _ATTEMPTS or (self.result is None and isinstance(error, LockedError)):
                    raise
                self._sleep(float("inf"))
                goes_on = True
            moves = self._wait(self._plan()) if goes_on and self.result is not None else self._plan()
            if self.result is not None and (not goes_on or self._is_over(moves)):
                return with_failure(self.result) if self.aborted else self.result

    @staticmethod
    def _is_over(moves: Iterable[Move]) -> bool:
        return not any(move.acts for move in moves)

    def _require_entry(self) -> None:
        """Raise `AuthenticationError` if these credentials may not change the entry point."""
        given = self.work.options.given
        for move in self.work.rollouts:
            if move.acts and given.intersection({self._stacks(move).tenant, self._stacks(move).entry}):
                raise AuthenticationError(
                    f"these credentials may not go on with the rollout of {'/'.join(move.key)}",
                    resolution="have the city's operator run `wecityctl up`",
                )

    def _make(self, moves: tuple[Move, ...]) -> bool:
        """Make one run with these moves, and note what came of it. Returns whether the rollouts can go on."""
        work = self.work
        work.rollouts, claimed = moves, dict[AppKey, AppReleases]()

        def claim() -> None:
            claimed.update(self._claim(moves))

        for move in moves:
            if move.acts:
                work.emit(Progress("/".join(move.key), "rollout", move.text.partition(": ")[2], done=True))
        found = work.run_once(claim)
        objects = frozenset[str]().union(*(self._objects(move) for move in moves if move.kind == "step"))
        self.result = merged(self.result, found)
        for move in moves:
            self._settle(move, claimed.get(move.key), found)
        # After that, since a rollout that has just ended may be of an app whose files have no canary any more.
        self.result = record_releases(work, found, into=self.result)
        return found.exit_code == ExitCode.OK or only_canaries_failed(found, objects)

    def _claim(self, moves: Iterable[Move]) -> dict[AppKey, AppReleases]:
        """Write what is about to be done, with the stacks locked. Raises `ReleasesChangedError` if a record is another
        one by now."""
        backend = self.work.backend
        current = releases.read_all(backend, heads=True)
        for move in moves:
            if _generation(current.get(move.key)) != _generation(move.record):
                raise ReleasesChangedError(f"another run has changed the releases of {'/'.join(move.key)}")
        claimed = [move.claimed for move in moves if move.claimed is not None]
        written = releases.write_all(backend, claimed) if claimed else ()
        if len(written) < len(claimed):
            raise ReleasesChangedError("another run has changed the releases of an app")
        return {(record.tenant, record.app): record for record in written}

    def _settle(self, move: Move, claimed: AppReleases | None, found: RunResult) -> None:
        app, stacks = self._app(move), self._stacks(move)
        failure = canary_failure(found, stacks, self._objects(move)) if move.kind == "step" else ""
        good = succeeded(found, stacks, move)
        digest = self._digest(move, app) if good and move.kind in ("first", "remove") else ""
        record = after(move, claimed, now(), good=good, failure=failure, image_digest=digest)
        if record is None:
            return
        try:
            releases.write(self.work.backend, record)
        except ReleasesChangedError:
            # Somebody has decided otherwise meanwhile; the next look at the record sees it.
            return
        if failure:
            self._tell_abort(move, failure)

    def _tell_abort(self, move: Move, why: str) -> None:
        self.aborted = True
        record = move.record
        serving = record.current.number if record is not None and record.current is not None else 0
        text = f"{'/'.join(move.key)}: the canary is aborted, release {serving} goes on serving: {why}"
        self.work.emit(Diagnostic("", "error", text))
        if self.result is not None:
            self.result = replace(self.result, notes=(*self.result.notes, text))

    def _digest(self, move: Move, app: App) -> str:
        cluster = self.work.clusters.found.get(self.work.session.plan.placement.apps[move.key])
        record = move.first or move.record
        return image_digest(cluster, app, record.component) if cluster is not None and record is not None else ""

    def _plan(self) -> tuple[Move, ...]:
        """What comes next. The selection is that of the user, whatever the last run was reduced to."""
        work = self.work
        session = replace(work.session, plan=work.session.plan.whole.selecting(self._selection))
        moves = planned_moves(session, work.backend, "up", only=self.only)
        if restart_pauses(work.backend, moves):
            moves = planned_moves(session, work.backend, "up", only=self.only)
        return moves

    def _wait(self, moves: tuple[Move, ...]) -> tuple[Move, ...]:
        """Wait until a rollout can go on, and return what comes next. Canaries that are not ready are aborted."""
        told: set[str] = set()
        while self._is_over(moves) and (waiting := [move for move in moves if move.kind == "wait"]):
            for move in waiting:
                if move.text not in told:
                    told.add(move.text)
                    self.work.emit(Progress("/".join(move.key), "rollout", move.text.partition(": ")[2]))
            self._sleep(min(move.due for move in waiting))
            for move in waiting:
                self._watch(move)
            moves = self._plan()
            if self.unready and not self._is_over(moves):
                # The pause is over, and it is not yet known whether the pods come back.
                moves = tuple(move for move in self._watched(moves))
        for key in {move.key for move in moves} if told else ():
            self.work.emit(Progress("/".join(key), "rollout", "goes on", done=True))
        return moves

    def _watched(self, moves: tuple[Move, ...]) -> tuple[Move, ...]:
        """The same moves, once each canary has been ready again or was unready for too long."""
        while any(move.key in self.unready for move in moves if move.kind in ("step", "finish")):
            self._sleep(float("inf"))
            for move in moves:
                if move.key in self.unready:
                    self._watch(move)
            moves = self._plan()
        return moves

    def _sleep(self, until: float) -> None:
        cancellation.check()
        try:
            time.sleep(max(0.0, min(_LOOK, until - time.time())))
        except KeyboardInterrupt:
            raise CancelledError(
                "interrupted during a rollout's pause", resolution="the next `up` goes on where it is"
            ) from None

    def _watch(self, move: Move) -> None:
        """Look at a canary's pods; abort it if they have been unready for too long."""
        record, app = move.record, self._app(move)
        cluster = self.work.clusters.found.get(self.work.session.plan.placement.apps[move.key])
        if record is None or record.rollout is None or cluster is None:
            return
        problem = unready(cluster, app, record.component)
        if problem == "":
            self.unready.pop(move.key, None)
        if not problem:
            return
        since = self.unready.setdefault(move.key, time.monotonic())
        if time.monotonic() - since < _PATIENCE:
            return
        self.unready.pop(move.key)
        try:
            releases.write(
                self.work.backend,
                replace(record, rollout=replace(taken_back(record.rollout, problem), since=time.time())),
            )
        except ReleasesChangedError:
            return
        self._tell_abort(move, problem)

    def _select(self, moves: Iterable[Move], *, everything: bool = False) -> None:
        """Apply the moves to the city, and select the stacks that they change; with `everything`, all that the user has
        selected too. Stacks that the entry point builds on are left as they are."""
        work, session = self.work, self.work.session
        acting = [self._stacks(move) for move in moves if move.acts]
        wanted = set(self._selection) if everything else {item.tenant for item in acting}
        whole = session.plan.whole
        if acting or not everything:
            entries = {item.entry for item in acting if item.entry}
            closure = whole.only((*wanted, *entries)) if wanted or entries else whole
            names = {stack.name for stack in closure.stacks}
            needed = {stack.name for stack in whole.only(tuple(wanted)).stacks} | entries
            self.work.options = replace(work.options, apart=frozenset(names - needed))
            whole = whole.selecting(names)
        else:
            whole = whole.selecting(self._selection) if session.plan.is_part else whole
        work.session = replace(session, plan=whole).with_shares(shares_of(moves))

    def _objects(self, move: Move) -> frozenset[str]:
        record = move.claimed or move.record
        return canary_objects(self._app(move), record.component) if record is not None else frozenset()

    def _app(self, move: Move) -> App:
        return next(app for app in self._session.said.apps if (app.tenant, app.name) == move.key)

    @property
    def _session(self) -> Session:
        return self.work.session

    def _stacks(self, move: Move) -> StackNames:
        return stacks_of(self._session, self._app(move))


def _generation(record: AppReleases | None) -> int:
    return record.generation if record is not None else 0
