"""The canaries that run, and the versions that are held back, as the records of releases say."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from wecityctl.model.releases import version_of
from wecityctl.model.rollouts import canary_part
from wecityctl.operations.rollouts.moves import held_now, said_version, share_now

if TYPE_CHECKING:
    from wecityctl.engine.state.backend import Backend
    from wecityctl.model.city import App
    from wecityctl.model.releases import AppReleases
    from wecityctl.session import Session


@dataclass(frozen=True, slots=True)
class RolloutStatus:
    """A canary or a version that is held back. `state` is a phase of a rollout, `aborted` or `undone`.

    `serving` is the number of the release that serves the rest, or all; `weight` the percentage that `image` gets.
    """

    app: str
    state: str
    image: str
    serving: int
    weight: int = 0
    step: int = 0
    steps: int = 0
    why: str = ""

    def __str__(self) -> str:
        rest = f"release {self.serving} serves the rest" if self.weight else f"release {self.serving} serves"
        share = f" with {self.weight} % of the requests" if self.weight else ""
        step = f"canary at step {self.step} of {self.steps}, " if self.step else ""
        why = f": {self.why}" if self.why else ""
        return f"{self.app}: {step}{self.state}: {self.image}{share}; {rest}{why}"


def rollout_statuses(session: Session, backend: Backend) -> tuple[RolloutStatus, ...]:
    """Return what the records say of the city's apps, in the order of the files. Raises as `releases.read_all`."""
    from wecityctl.engine.state import releases

    records = releases.read_all(backend, heads=True)
    apps = ((app, records.get((app.tenant, app.name))) for app in session.said.apps if app.runs)
    found = (_status(session, app, record) for app, record in apps if record is not None)
    return tuple(item for item in found if item is not None)


def _status(session: Session, app: App, record: AppReleases) -> RolloutStatus | None:
    part, rollout, held = canary_part(app), record.rollout, record.held
    if record.current is None:
        return None
    title, serving = f"{app.tenant}/{app.called}", record.current.number
    if part is not None and rollout is not None:
        share = share_now(part, record, version_of(part, session.images))
        steps = len(part.strategy.steps) if part.strategy is not None else 0
        weight = share.weight if share is not None else 0
        step = min(rollout.step, steps)
        return RolloutStatus(title, rollout.phase, rollout.image, serving, weight, step, steps, rollout.why)
    if held is None or held.version != said_version(app, session.images):
        return None
    if part is not None or held_now(app, record, session.images):
        return RolloutStatus(title, held.because, held.image, serving, why=held.why)
    return None
