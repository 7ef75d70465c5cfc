"""What people ask of a rollout: `status`, `promote`, `abort`, `undo` and `retry`.

Each changes the record first, so that an `up` which waits in a pause takes it from there, and then runs what follows
from it, as `up --only TENANT` would.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from wecityctl.errors import AuthenticationError, ConfigurationError, NoSuchStackError, PolicyError
from wecityctl.model.registries import resolve_image
from wecityctl.model.releases import AppReleases, Held, Part, Release, released_parts, version_of, version_of_all
from wecityctl.model.rollouts import canary_part
from wecityctl.operations.app_targets import find_app
from wecityctl.operations.options import Timeouts, UpOptions, run_options
from wecityctl.operations.rollouts.fitting import unfit
from wecityctl.operations.rollouts.moves import said_version, share_now, taken_back
from wecityctl.operations.rollouts.planning import now, stacks_of

if TYPE_CHECKING:
    from wecityctl.model.city import App
    from wecityctl.model.events import Emit, RunResult
    from wecityctl.session import Session

RolloutAction = Literal["promote", "abort", "undo", "retry"]


@dataclass(frozen=True, slots=True)
class RolloutState:
    """An app's releases and its rollout. `version` is that of the files; `weight` the percentage that the canary gets.

    `steps` and `pause` are those of the files, empty where they have no canary any more.
    """

    app: App
    record: AppReleases
    version: str
    weight: int
    steps: tuple[int, ...]
    pause: str

    @property
    def is_behind(self) -> bool:
        """Whether the files have a version that was not released yet, and that the next `up` releases."""
        record = self.record
        known = (item.version for item in (record.current, record.held) if item is not None)
        return record.rollout is None and self.version not in known


@dataclass(frozen=True, slots=True)
class Change:
    """A change of a record that was decided on: what it was, what it becomes, and what that means in a sentence."""

    app: App
    before: AppReleases
    after: AppReleases
    text: str


def rollout_state(session: Session, name: str) -> RolloutState:
    """Return the releases and the rollout of the app called `name`.

    Raises `NoSuchStackError` for one that was not released yet, and `ConfigurationError` if the state keeps no records.
    """
    app, record = _record(session, name)
    part = canary_part(app)
    share = share_now(part, record, version_of(part, session.images)) if part is not None else None
    strategy = part.strategy if part is not None else None
    return RolloutState(
        app,
        record,
        said_version(app, session.images),
        share.weight if share is not None else 0,
        strategy.steps if strategy is not None else (),
        strategy.pause if strategy is not None else "",
    )


def decide(session: Session, name: str, action: RolloutAction, *, to: int = 0) -> Change:
    """Return the change that `action` makes; nothing is written. `to` is the number of the release to undo to.

    Raises `ConfigurationError` where there is nothing to do it with, such as no rollout to promote.
    """
    app, record = _record(session, name)
    title = f"{app.tenant}/{app.called}"
    if action in ("promote", "abort"):
        return _of_rollout(app, record, title, action)
    if record.rollout is not None:
        raise ConfigurationError(
            f"a rollout of {title} is under way",
            details=f"{record.rollout.image}, step {record.rollout.step}",
            resolution=f"end it first: wecityctl rollout abort {session.arguments} {title}",
        )
    if action == "retry":
        if record.held is None:
            raise ConfigurationError(f"no version of {title} is held back", resolution="change the files, then `up`")
        text = f"{title}: {record.held.image}, which was {record.held.because}, is tried again"
        return Change(app, record, replace(record, held=None), text)
    return _undo(session, app, record, title, to)


def carry_out(session: Session, change: Change, emit: Emit, *, timeouts: Timeouts) -> RunResult:
    """Write the change and run what follows from it.

    Raises `ReleasesChangedError` if another run has changed the record meanwhile, and what an `up` raises. After an
    `AuthenticationError` or a `PolicyError` the record is as before.
    """
    from wecityctl.engine.state import releases
    from wecityctl.engine.state.backend import open_backend
    from wecityctl.engine.state.releases import ReleasesChangedError
    from wecityctl.operations.rollouts.driving import run_rollouts
    from wecityctl.operations.stack_operation import begin

    backend = open_backend(session.city)
    written = releases.write(backend, change.after)
    key = (change.app.tenant, change.app.name)
    tenant = (stacks_of(session, change.app).tenant,)
    options = run_options("up", UpOptions(timeouts=timeouts))
    try:
        with begin(session.only(tenant), options, emit, check_policies=True, rollouts_of=frozenset({key})) as work:
            work.find_moves()
            work.open_clusters()
            work.exclude_namespace_conflicts()
            work.find_given_stacks(tenant)
            work.require_a_cloud()
            work.require_rights()
            return run_rollouts(work, only=frozenset({key}))
    except (AuthenticationError, PolicyError):
        # Nothing was done, and what may not be done must not be left to the next run.
        with suppress(ReleasesChangedError):
            releases.write(backend, replace(change.before, generation=written.generation))
        raise


def _record(session: Session, name: str) -> tuple[App, AppReleases]:
    from wecityctl.engine.state import releases
    from wecityctl.engine.state.backend import open_backend

    app, backend = find_app(session.said, name), open_backend(session.city)
    releases.required(backend)
    found = releases.read(backend, app.tenant, app.name)
    if found is not None:
        return app, found
    title = f"{app.tenant}/{app.called}"
    raise NoSuchStackError(f"{title} was not released yet", resolution=f"wecityctl up {session.arguments}")


def _of_rollout(app: App, record: AppReleases, title: str, action: RolloutAction) -> Change:
    rollout, current = record.rollout, record.current
    if rollout is None or current is None:
        raise ConfigurationError(f"no rollout of {title} is under way", resolution="`up` begins one for a new version")
    if rollout.phase in ("withdrawing", "removing"):
        raise ConfigurationError(
            f"the rollout of {title} ends already: it is {rollout.outcome}", resolution="`up` goes on with it"
        )
    if action == "promote":
        ending = replace(rollout, phase="finishing", outcome="released", since=time.time())
        text = f"{title}: {rollout.image} skips the steps that are left and gets all requests"
    else:
        ending = replace(taken_back(rollout, f"by {now().who}"), since=time.time())
        text = f"{title}: {rollout.image} is taken back, release {current.number} gets all requests"
    return Change(app, record, replace(record, rollout=ending), text)


def _undo(session: Session, app: App, record: AppReleases, title: str, to: int) -> Change:
    if record.current is None:
        raise ConfigurationError(f"no release of {title} is recorded")
    current, part, said = record.current, canary_part(app), said_version(app, session.images)
    if (part.name if part is not None else "") != record.component:
        raise ConfigurationError(
            f"the strategy of {title} has changed, and nothing was released with it yet",
            resolution=f"wecityctl up {session.arguments}",
        )
    is_held = record.held is not None and record.held.version == said
    # What the files say may have failed, and then it was not recorded.
    serving = current.version if part is not None or is_held else said
    back = _release_before(record, title, serving, to)
    parts = _brought_back(app, back, record.component, title)
    held, at = None, now()
    version = version_of_all((item.component for item in parts), {})
    if said != version:
        wanted = (part,) if part is not None else released_parts(app)
        images = ", ".join(dict.fromkeys(resolve_image(item.image, session.images, "") for item in wanted))
        held = Held(said, images, "undone", f"release {back.number} was brought back", at.at)
    release = Release(0, at.at, at.who, version, parts, of=back.number)
    # One that has failed was not recorded: the last release serves again, or still.
    after = record if back == current else record.released(release)
    return Change(
        app, record, replace(after, held=held), f"{title}: release {back.number} ({back.images}) is brought back"
    )


def _release_before(record: AppReleases, title: str, serving: str, to: int) -> Release:
    """The release to go back to: the one of this number, or the last one of another version than the `serving` one."""
    assert record.current is not None

    def version(release: Release) -> str:
        return release.version_for(record.component) if record.component else release.version

    # An undone release is not what "the one before" means to whoever undoes twice.
    found = [item for item in record.releases if (item.number == to if to else version(item) != serving)]
    if found and not (to and version(found[-1]) == serving and found[-1] == record.current):
        return found[-1]
    known = ", ".join(str(item.number) for item in record.releases[:-1])
    raise ConfigurationError(
        f"there is no release {to} of {title} to go back to" if to else f"{title} has no release before this one",
        details=f"recorded: {known or 'none'}, and {record.current.number}, which serves",
    )


def _brought_back(app: App, back: Release, canary: str, title: str) -> tuple[Part, ...]:
    """The parts of a release that are brought back. Raises `ConfigurationError` if they do not fit the files."""
    wanted = {canary} if canary else {part.name for part in released_parts(app)}
    parts = tuple(part for part in back.parts if part.component.name in wanted)
    if {part.component.name for part in parts} != wanted:
        raise ConfigurationError(
            f"release {back.number} of {title} is of other components than the files have",
            details=f"the release: {_names(part.component.name for part in back.parts)}; the files: {_names(wanted)}",
            resolution="put the version before into the files, then `up`",
        )
    if not canary and len(parts) < len(back.parts):
        gone = _names({part.component.name for part in back.parts} - wanted)
        raise ConfigurationError(
            f"release {back.number} of {title} has components that the files have no more: {gone}",
            resolution="put the version before into the files, then `up`",
        )
    for part in parts:
        if reason := unfit(app, part.component):
            raise ConfigurationError(
                f"release {back.number} of {title} does not fit the files: {reason}",
                resolution="put what it needs and the version before into the files, then `up`",
            )
    return parts


def _names(names: Iterable[str]) -> str:
    return ", ".join(sorted(names)) or "none"
