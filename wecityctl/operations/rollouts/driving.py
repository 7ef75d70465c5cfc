"""Makes the steps of the rollouts of an `up`: a run for each, a pause after it, and an abort if pods are not ready or
too many requests fail."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
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
from wecityctl.operations.rollouts.error_rate import Judgement
from wecityctl.operations.rollouts.judging import is_judged, judgement_of
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
from wecityctl.operations.rollouts.planning import as_it_is, now, planned_moves, restart_pauses, shares_of, stacks_of
from wecityctl.operations.rollouts.recording import record_releases
from wecityctl.operations.rollouts.removal import without_old
from wecityctl.operations.rollouts.watching import image_digest, unready

if TYPE_CHECKING:
    from wecityctl.model.city import App
    from wecityctl.operations.stack_operation import StackOperation
    from wecityctl.session import Session

# Seconds between two looks at a canary's pods and its record, and for how long its pods may be unready.
_LOOK, _PATIENCE = 2.0, 10.0
# Seconds between two looks at how a canary's requests were answered, and for how long it stays at its step in this run
# because that is not known.
_JUDGE, _UNKNOWN = 10.0, 60.0
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
    # Whether a canary was aborted, or does not go on because nothing is known of its requests.
    failed: bool = False
    notes: list[str] = field(default_factory=list)
    # When a canary was first seen unready, in seconds of the monotonic clock.
    unready: dict[AppKey, float] = field(default_factory=dict)
    # When a canary's requests were last looked at in a pause, likewise, and the canaries that stay at their steps.
    judged: dict[AppKey, float] = field(default_factory=dict)
    staying: set[AppKey] = field(default_factory=set)
    _selection: frozenset[str] = frozenset()

    def run(self) -> RunResult:
        """Make one run after the other until no rollout goes on; return the result of all."""
        self._require_entry()
        self._selection = frozenset(stack.name for stack in self.work.session.plan.stacks)
        moves, attempts = self._judged(self.work.rollouts), 0
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
            moves = self._next(goes_on=goes_on)
            if self.result is not None and (not goes_on or self._is_over(moves)):
                found = replace(self.result, notes=(*self.result.notes, *self.notes))
                return with_failure(found) if self.failed else found

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
        record = move.record
        serving = record.current.number if record is not None and record.current is not None else 0
        self._tell_failure(f"{'/'.join(move.key)}: the canary is aborted, release {serving} goes on serving: {why}")

    def _tell_failure(self, text: str) -> None:
        self.failed = True
        self.work.emit(Diagnostic("", "error", text))
        self.notes.append(text)

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
        return tuple(self._staying(move) if move.key in self.staying else move for move in moves)

    def _next(self, *, goes_on: bool) -> tuple[Move, ...]:
        """What comes next, once a rollout can go on and its requests have been judged."""
        if self.result is None:
            return self._judged(self._plan())
        while goes_on:
            moves = self._judged(self._wait(self._plan()))
            if not self._is_over(moves) or all(move.kind != "wait" for move in moves):
                return moves
        return self._plan()

    def _judged(self, moves: Iterable[Move]) -> tuple[Move, ...]:
        """The same moves, where the requests of a canary let it go on; else it is aborted, or stays at its step."""
        return tuple(self._decided(move) if is_judged(move) else move for move in moves)

    def _decided(self, move: Move) -> Move:
        # Before the first run nobody waits: what has to be mended may be mended by it.
        until = time.monotonic() + (_UNKNOWN if self.result is not None else 0.0)
        while True:
            judgement = self._judgement(move)
            if judgement is None or judgement.kind != "unknown" or time.monotonic() >= until:
                break
            self._sleep(float("inf"))
            again = self._planned(move)
            if not is_judged(again):
                # Somebody has decided otherwise meanwhile.
                return again
            move = again
        if judgement is None:
            return move
        if judgement.kind == "above":
            self._abort(move, judgement.text)
            return self._planned(move)
        if judgement.kind == "unknown":
            return self._unknown(move, judgement.text)
        self.work.emit(Progress("/".join(move.key), "rollout", judgement.text, done=True))
        return move

    def _unknown(self, move: Move, why: str) -> Move:
        text = f"{'/'.join(move.key)}: the canary stays at its step, as it is not known how its requests were answered"
        if self.result is None:
            self.work.emit(Diagnostic("", "warning", f"{text}: {why}"))
        else:
            self.staying.add(move.key)
            self._tell_failure(
                f"{text}: {why}; `wecityctl up` asks again, `wecityctl rollout promote` goes on without, and "
                "`wecityctl rollout abort` takes it back"
            )
        return self._staying(move)

    def _staying(self, move: Move) -> Move:
        """The move that leaves a canary at its step, in the place of one that goes on."""
        stays = as_it_is(self._session, self._app(move), move.record) if is_judged(move) else None
        return stays or move

    def _planned(self, move: Move) -> Move:
        """What comes next for the app of a move, by its record as it is now."""
        return next((item for item in self._plan() if item.key == move.key), replace(move, kind="hold", claimed=None))

    def _judgement(self, move: Move) -> Judgement | None:
        self.judged[move.key] = time.monotonic()
        with _interruptible():
            return judgement_of(self._session, self.work.clusters.found, self._app(move), move)

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
        with _interruptible():
            time.sleep(max(0.0, min(_LOOK, until - time.time())))

    def _watch(self, move: Move) -> None:
        """Look at a canary's pods and requests; abort it if they have been unready for too long, or too many fail."""
        self._watch_pods(move)
        if time.monotonic() - self.judged.setdefault(move.key, time.monotonic()) >= _JUDGE:
            judgement = self._judgement(move)
            if judgement is not None and judgement.kind == "above":
                self._abort(move, judgement.text)

    def _watch_pods(self, move: Move) -> None:
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
        self._abort(move, problem)

    def _abort(self, move: Move, problem: str) -> None:
        """Record that the canary is taken back, unless somebody has decided otherwise meanwhile."""
        record = move.record
        if record is None or record.rollout is None:
            return
        aborted = replace(taken_back(record.rollout, problem), since=time.time())
        try:
            releases.write(self.work.backend, replace(record, rollout=aborted))
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


@contextmanager
def _interruptible() -> Iterator[None]:
    """Say of an interrupt in this block what it means for a rollout."""
    try:
        yield
    except KeyboardInterrupt:
        raise CancelledError(
            "interrupted during a rollout's pause", resolution="the next `up` goes on where it is"
        ) from None


def _generation(record: AppReleases | None) -> int:
    return record.generation if record is not None else 0
