"""What people ask of a rollout: `status`, `promote`, `abort`, `undo` and `retry`.

Each changes the record first, so that an `up` which waits in a pause takes it from there, and then runs what follows
from it, as `up --only TENANT` would.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from wecityctl.errors import ConfigurationError, NoSuchStackError
from wecityctl.model.registries import resolve_image
from wecityctl.model.releases import AppReleases, Held, Release, version_of
from wecityctl.model.rollouts import canary_part
from wecityctl.operations.app_targets import find_app
from wecityctl.operations.options import Timeouts, UpOptions, run_options
from wecityctl.operations.rollouts.moves import leads_to, share_now, taken_back
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


@dataclass(frozen=True, slots=True)
class Change:
    """A change of a record that was decided on: what it was, what it becomes, and what that means in a sentence."""

    app: App
    before: AppReleases
    after: AppReleases
    text: str


def rollout_state(session: Session, name: str) -> RolloutState:
    """Return the releases and the rollout of the app called `name`.

    Raises `ConfigurationError` for an app without a canary and without a record, and `NoSuchStackError` for one that
    was not released yet.
    """
    app, record = _record(session, name)
    part = canary_part(app)
    said = version_of(part, session.images) if part is not None else ""
    share = share_now(part, record, said) if part is not None else None
    strategy = part.strategy if part is not None else None
    return RolloutState(
        app,
        record,
        said,
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

    Raises `ReleasesChangedError` if another run has changed the record meanwhile, and what an `up` raises.
    """
    from wecityctl.engine.state import releases
    from wecityctl.engine.state.backend import open_backend
    from wecityctl.operations.rollouts.driving import run_rollouts
    from wecityctl.operations.stack_operation import begin

    releases.write(open_backend(session.city), change.after)
    key = (change.app.tenant, change.app.name)
    chosen = session.only((stacks_of(session, change.app).tenant,))
    options = run_options("up", UpOptions(timeouts=timeouts))
    with begin(chosen, options, emit, check_policies=True, rollouts_of=frozenset({key})) as work:
        work.find_moves()
        work.open_clusters()
        work.find_given_stacks(())
        work.require_a_cloud()
        return run_rollouts(work, only=frozenset({key}))


def _record(session: Session, name: str) -> tuple[App, AppReleases]:
    from wecityctl.engine.state import releases
    from wecityctl.engine.state.backend import open_backend

    app = find_app(session.said, name)
    title = f"{app.tenant}/{app.called}"
    found = releases.read(open_backend(session.city), app.tenant, app.name)
    if found is not None:
        return app, found
    if canary_part(app) is None:
        raise ConfigurationError(
            f"{title} is not released by canary",
            resolution="give its routed component `strategy: {type: canary, steps: [10, 50]}`",
        )
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
    *older, current = record.releases
    found = [item for item in older if not to or item.number == to]
    # An undone release is not what "the one before" means to whoever undoes twice.
    found = found if to else [item for item in found if item.version != current.version]
    if not found:
        known = ", ".join(str(item.number) for item in older)
        raise ConfigurationError(
            f"there is no release {to} of {title} to go back to" if to else f"{title} has no release before this one",
            details=f"recorded: {known or 'none'}, and {current.number}, which serves",
        )
    back, at = found[-1], now()
    if not leads_to(app, back.component):
        raise ConfigurationError(
            f"the route of {title} leads to a port that release {back.number} does not have",
            resolution="put the route and the version before into the files, then `up`",
        )
    part = canary_part(app)
    if part is None:
        raise ConfigurationError(
            f"{title} is not released by canary any more", resolution="put the old version into the files, then `up`"
        )
    said = version_of(part, session.images)
    release = Release(
        0, at.at, at.who, back.version, back.image, back.component, image_digest=back.image_digest, of=back.number
    )
    held = None
    if said != back.version:
        image = resolve_image(part.image, session.images, "")
        held = Held(said, image, "undone", f"release {back.number} was brought back", at.at)
    after = replace(record.released(release), held=held)
    return Change(app, record, after, f"{title}: release {back.number} ({back.image}) is brought back")
