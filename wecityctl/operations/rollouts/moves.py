"""Decides what the next run does with an app that is released by canary. Pure functions of files and record."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

from wecityctl.model.city import App, Component, Strategy
from wecityctl.model.quantity import parse_duration
from wecityctl.model.registries import resolve_image
from wecityctl.model.releases import AppReleases, Release, Rollout, fixed, version_of
from wecityctl.model.rollouts import AppKey, Share, canary_part

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

    `share` is what runs of it then; `None`: what the files say. `record` is the record that the decision is based on,
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

    @property
    def acts(self) -> bool:
        """Whether it is a step of a rollout, which changes what runs."""
        return self.kind in _ACTING


def next_move(app: App, record: AppReleases | None, images: Mapping[str, str], now: Now) -> Move | None:
    """What the next run does with `app`, as its files say it; `None` if it has nothing to do with canaries.

    `images` are the references of catalogue images.
    """
    key, part = (app.tenant, app.name), canary_part(app)
    if part is None:
        return _ending(app, record, now)
    said = version_of(part, images)
    if record is None or record.current is None or record.component != part.name:
        return _first(app, part, said, record, images, now)
    if not leads_to(app, record.current.component):
        return _first(app, part, said, record, images, now)
    if not app.is_routed:
        # Nobody asks it, so nothing can be tried: it goes on when the route is back.
        return Move(key, "hold", share_now(part, record, said), record)
    if record.rollout is not None:
        return _going_on(key, part, record, record.rollout, said, images, now)
    if said == record.current.version:
        return Move(key, "hold", None, record)
    if record.held is not None and record.held.version == said:
        text = f"{_name(key)}: {record.held.image} stays {record.held.because}, release {record.current.number} serves"
        return Move(key, "hold", share_now(part, record, said), record, text=text)
    return _step(key, part, record, _begun(part, said, images, now), said, now)


def leads_to(app: App, version: Component) -> bool:
    """Whether the app's route leads to a port that this version of its component has; else both cannot be served."""
    port = app.route.port if app.route is not None else ""
    return bool(version.ports) and port in ("", *version.ports)


def share_now(part: Component, record: AppReleases, said: str) -> Share | None:
    """What runs according to the record, for a component `part` whose version in the files is `said`."""
    current, rollout = record.current, record.rollout
    if current is None:
        return None
    if rollout is None:
        return _share(part, _held(current.component, current.version, said))
    if rollout.phase in ("starting", "pausing"):
        weight = weight_of(part.strategy, rollout.step)
        return _share(part, _held(current.component, current.version, said), rollout.component, weight)
    if rollout.outcome == "released":
        stable = _held(rollout.component, rollout.version, said)
    else:
        stable = _held(current.component, current.version, said)
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
    app: App, part: Component, said: str, record: AppReleases | None, images: Mapping[str, str], now: Now
) -> Move | None:
    """The first release: what the files say, at once."""
    if not app.is_routed:
        return None
    base = record or AppReleases(app.tenant, app.name, part.name)
    release = Release(0, now.at, now.who, said, resolve_image(part.image, images, ""), fixed(part, images))
    new = replace(base, component=part.name, rollout=None, held=None).released(release)
    return Move((app.tenant, app.name), "first", None, record, first=new)


def _ending(app: App, record: AppReleases | None, now: Now) -> Move | None:
    """A rollout of an app whose files have no canary any more: what they say takes the old version's place."""
    if record is None or record.rollout is None:
        return None
    rollout, key = record.rollout, (app.tenant, app.name)
    if rollout.phase == "removing" or all(part.name != record.component for part in app.components):
        claimed = replace(record, rollout=replace(rollout, phase="removing", outcome="released", since=now.seconds))
        return Move(key, "remove", None, record, claimed, text=f"{_name(key)}: its canary is removed")
    claimed = replace(record, rollout=replace(rollout, phase="finishing", outcome="released", since=now.seconds))
    text = f"{_name(key)}: the files have no canary any more, and what they say gets all requests"
    return Move(key, "finish", Share(record.component, None, rollout.component), record, claimed, text=text)


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
