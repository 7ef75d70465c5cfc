"""Decides what the next run does with an app, as its files and its record of releases say. Pure functions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

from wecityctl.model.city import App, Component, Strategy
from wecityctl.model.quantity import parse_duration
from wecityctl.model.registries import resolve_image
from wecityctl.model.releases import (
    AppReleases,
    Part,
    Release,
    Rollout,
    fixed,
    released_parts,
    version_of,
    version_of_all,
)
from wecityctl.model.rollouts import AppKey, Share, canary_part
from wecityctl.operations.rollouts.fitting import unfit

# `first`: nothing is recorded yet, and what the files say is released at once. `hold`: what the record says goes on.
MoveKind = Literal["first", "hold", "wait", "step", "finish", "withdraw", "remove"]
_ACTING: tuple[MoveKind, ...] = ("step", "finish", "withdraw", "remove")


@dataclass(frozen=True, slots=True)
class Now:
    """When and by whom a move is made: seconds since 1970, the same in RFC 3339, and the user on the machine."""

    seconds: float
    at: str
    who: str


@dataclass(frozen=True, slots=True)
class Move:
    """What a run does with one app.

    `share` is what runs of its canary's component then, and `held` of the components of an app without a canary;
    otherwise it is what the files say. `record` is the record that the decision is based on,
    and `claimed` the one that is written before anything is changed (`None`: nothing is). `first` is the record of an
    app that has none, once its first version runs. `due` is when a `wait` ends, in seconds since 1970. `text` says it
    to people; empty if there is nothing to say.
    """

    key: AppKey
    kind: MoveKind
    share: Share | None = None
    record: AppReleases | None = None
    claimed: AppReleases | None = None
    first: AppReleases | None = None
    due: float = 0.0
    text: str = ""
    held: tuple[Share, ...] = ()

    @property
    def shares(self) -> tuple[Share, ...]:
        """What runs of it, where that is not what the files say."""
        return (self.share, *self.held) if self.share is not None else self.held

    @property
    def writes(self) -> bool:
        """Whether a record is written that is made of `record`."""
        return self.claimed is not None or self.first is not None

    @property
    def acts(self) -> bool:
        """Whether it is a step of a rollout, which changes what runs."""
        return self.kind in _ACTING


def next_move(app: App, record: AppReleases | None, images: Mapping[str, str], now: Now) -> Move | None:
    """What the next run does with `app`, as its files say it; `None` if it is what the files say, and no canary.

    `images` are the references of catalogue images.
    """
    key, part = (app.tenant, app.name), canary_part(app)
    if part is None:
        return _without_canary(app, record, images, now)
    said = version_of(part, images)
    if record is None or record.current is None or record.component != part.name:
        return _first(app, part, said, record, images, now)
    if reason := unfit(app, record.current.parts[0].component):
        return _first(app, part, said, record, images, now, reason)
    if not app.is_routed:
        # Nobody asks it, so nothing can be tried: it goes on when the route is back.
        return Move(key, "hold", share_now(part, record, said), record)
    if record.rollout is not None:
        return _going_on(key, part, record, record.rollout, said, images, now)
    if said == record.current.version:
        return Move(key, "hold", None, record)
    if record.held is not None and record.held.version == said:
        return Move(key, "hold", share_now(part, record, said), record, text=_stays(key, record))
    return _step(key, part, record, _begun(part, said, images, now), said, now)


def held_now(app: App, record: AppReleases, images: Mapping[str, str]) -> tuple[Share, ...]:
    """What the components of an app without a canary are held at, because what the files say was undone."""
    held, current, parts = record.held, record.current, released_parts(app)
    if held is None or current is None or record.component or held.version != version_of_all(parts, images):
        return ()
    if _misfit(app, record):
        return ()
    stable = {part.component.name: part.component for part in current.parts}
    return tuple(
        Share(part.name, stable[part.name])
        for part in parts
        if version_of(part, images) != version_of(stable[part.name], {})
    )


def _misfit(app: App, record: AppReleases) -> str:
    """Why the last release cannot run in an app without a canary, as its files say it; empty if it can."""
    assert record.current is not None
    stable = [part.component for part in record.current.parts]
    if {part.name for part in stable} != {part.name for part in released_parts(app)}:
        return f"release {record.current.number} has other components than the files"
    reasons = (unfit(app, part) for part in stable)
    return next((f"release {record.current.number}: {reason}" for reason in reasons if reason), "")


def said_version(app: App, images: Mapping[str, str]) -> str:
    """The version that the files say: of the component that is released by canary, or of all without one."""
    part = canary_part(app)
    return version_of(part, images) if part is not None else version_of_all(released_parts(app), images)


def share_now(part: Component, record: AppReleases, said: str) -> Share | None:
    """What runs according to the record, for a component `part` whose version in the files is `said`."""
    current, rollout = record.current, record.rollout
    if current is None:
        return None
    serving = _held(current.parts[0].component, current.version, said)
    if rollout is None:
        return _share(part, serving)
    if rollout.phase in ("starting", "pausing"):
        return _share(part, serving, rollout.component, weight_of(part.strategy, rollout.step))
    stable = _held(rollout.component, rollout.version, said) if rollout.outcome == "released" else serving
    return _share(part, stable, rollout.component if rollout.phase != "removing" else None)


def weight_of(strategy: Strategy | None, step: int) -> int:
    """The percentage of the requests at a step, which counts from 1; that of the last step for later ones."""
    steps = strategy.steps if strategy is not None and strategy.steps else (1,)
    return steps[min(step, len(steps)) - 1]


def _share(part: Component, stable: Component | None, canary: Component | None = None, weight: int = 0) -> Share | None:
    if stable is None and canary is None:
        return None
    return Share(part.name, stable, canary, weight)


def _held(component: Component, version: str, said: str) -> Component | None:
    """The component to hold at this version; `None` if the files say the same."""
    return None if version == said else component


def _first(
    app: App,
    part: Component,
    said: str,
    record: AppReleases | None,
    images: Mapping[str, str],
    now: Now,
    reason: str = "",
) -> Move | None:
    """The first release by canary: what the files say, at once."""
    if not app.is_routed:
        return None
    base, key = record or AppReleases(app.tenant, app.name, part.name), (app.tenant, app.name)
    current, text = base.current, ""
    if current is not None and base.component:
        # A canary was there before, and nobody expects that there are no steps.
        reason = reason or f"its route leads to component {part.name!r} now, and to {base.component!r} before"
        text = f"{_name(key)}: what the files say gets all requests at once, without steps: {reason}"
    at_once = Part(fixed(part, images), resolve_image(part.image, images, ""))
    release = Release(0, now.at, now.who, said, (at_once,))
    base = replace(base, component=part.name, held=None, rollout=None)
    same = current is not None and current.version_for(part.name) == said
    return Move(key, "first", None, record, first=base.replaced(release) if same else base.released(release), text=text)


def _without_canary(app: App, record: AppReleases | None, images: Mapping[str, str], now: Now) -> Move | None:
    if record is None:
        return None
    if record.rollout is not None:
        return _ending(app, record, record.rollout, images, now)
    key = (app.tenant, app.name)
    if record.component:
        # Noted before anything changes: what a canary's record says serves must not be taken for it later.
        return Move(key, "hold", None, record, replace(record, component="", held=None))
    held = held_now(app, record, images)
    if held:
        return Move(key, "hold", None, record, text=_stays(key, record), held=held)
    if record.held is None or record.held.version != said_version(app, images):
        return None
    # The release that was brought back cannot run any more, and what was undone takes its place.
    reason = _misfit(app, record)
    text = f"{_name(key)}: {record.held.image}, which was undone, is released again: {reason}"
    return Move(key, "hold", None, record, replace(record, held=None), text=text)


def _ending(app: App, record: AppReleases, rollout: Rollout, images: Mapping[str, str], now: Now) -> Move:
    """A rollout of an app whose files have no canary any more: what they say takes the old version's place."""
    key, part = (app.tenant, app.name), next((item for item in app.components if item.name == record.component), None)
    if part is None:
        gone = replace(rollout, phase="removing", outcome="reverted", since=now.seconds)
        text = f"{_name(key)}: its canary is removed"
        return Move(key, "remove", None, record, replace(record, rollout=gone), text=text)
    # Of what the files say by now, which may be another version than the canary's.
    image, version = resolve_image(part.image, images, ""), version_of(part, images)
    ending = replace(rollout, outcome="released", version=version, image=image, component=fixed(part, images))
    if rollout.phase == "removing":
        claimed = replace(record, rollout=replace(ending, since=now.seconds))
        return Move(key, "remove", None, record, claimed, text=f"{_name(key)}: its canary is removed")
    claimed = replace(record, rollout=replace(ending, phase="finishing", since=now.seconds))
    text = f"{_name(key)}: the files have no canary any more, and what they say gets all requests"
    return Move(key, "finish", Share(record.component, None, rollout.component), record, claimed, text=text)


def _stays(key: AppKey, record: AppReleases) -> str:
    assert record.held is not None
    assert record.current is not None
    return f"{_name(key)}: {record.held.image} stays {record.held.because}, release {record.current.number} serves"


def _begun(part: Component, said: str, images: Mapping[str, str], now: Now) -> Rollout:
    image = resolve_image(part.image, images, "")
    return Rollout(said, image, fixed(part, images), 1, "starting", now.seconds, now.who)


def _going_on(
    key: AppKey,
    part: Component,
    record: AppReleases,
    rollout: Rollout,
    said: str,
    images: Mapping[str, str],
    now: Now,
) -> Move:
    assert record.current is not None
    if rollout.phase in ("finishing", "withdrawing", "removing"):
        return _end(key, part, record, rollout, said, now)
    if said == record.current.version:
        why = "the files have the version before again"
        return _end(key, part, record, _taken_back(rollout, "reverted", why), said, now)
    if said != rollout.version:
        begun = replace(_begun(part, said, images, now), is_live=rollout.is_live)
        return _step(key, part, record, begun, said, now)
    if rollout.phase == "starting":
        return _step(key, part, record, rollout, said, now)
    strategy = part.strategy or Strategy()
    due = rollout.since + parse_duration(strategy.pause)
    if now.seconds < due:
        text = f"{_name(key)}: {_gets(part, rollout.step, rollout.image)} until {_clock(due)}"
        return Move(key, "wait", share_now(part, record, said), record, due=due, text=text)
    if rollout.step < len(strategy.steps):
        return _step(key, part, record, replace(rollout, step=rollout.step + 1), said, now)
    return _end(key, part, record, replace(rollout, phase="finishing", outcome="released"), said, now)


def _step(key: AppKey, part: Component, record: AppReleases, rollout: Rollout, said: str, now: Now) -> Move:
    begun = replace(rollout, phase="starting", since=now.seconds, by=now.who)
    claimed = replace(record, rollout=begun)
    text = f"{_name(key)}: {_gets(part, rollout.step, rollout.image)}"
    return Move(key, "step", share_now(part, claimed, said), record, claimed, text=text)


def _end(key: AppKey, part: Component, record: AppReleases, rollout: Rollout, said: str, now: Now) -> Move:
    claimed = replace(record, rollout=replace(rollout, since=now.seconds, by=now.who))
    share = share_now(part, claimed, said)
    serving = record.releases[-1]
    if rollout.phase == "finishing":
        text = f"{_name(key)}: {rollout.image} gets all requests"
        return Move(key, "finish", share, record, claimed, text=text)
    if rollout.phase == "withdrawing":
        text = f"{_name(key)}: release {serving.number} gets all requests again ({rollout.why})"
        return Move(key, "withdraw", share, record, claimed, text=text)
    return Move(key, "remove", share, record, claimed, text=f"{_name(key)}: the canary's pods are removed")


def taken_back(rollout: Rollout, why: str) -> Rollout:
    """The rollout as one that is aborted."""
    return _taken_back(rollout, "aborted", why)


def _taken_back(rollout: Rollout, outcome: Literal["aborted", "reverted"], why: str) -> Rollout:
    # A canary that the entry point does not know yet is removed at once.
    return replace(rollout, phase="withdrawing" if rollout.is_live else "removing", outcome=outcome, why=why)


def _gets(part: Component, step: int, image: str) -> str:
    count = len((part.strategy or Strategy()).steps)
    return f"step {min(step, count)} of {count}: {image} gets {weight_of(part.strategy, step)} % of the requests"


def _name(key: AppKey) -> str:
    return "/".join(key)


def _clock(seconds: float) -> str:
    from datetime import UTC, datetime

    return f"{datetime.fromtimestamp(seconds, UTC):%H:%M:%S} UTC"
