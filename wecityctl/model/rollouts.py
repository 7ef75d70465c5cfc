"""A city as it is while releases differ from its files: components held at an older release, and canaries beside them.

Everything behind it, such as stacks, quotas, policies and `status`, sees ordinary components. A city without a rollout
stays as it is. Pure functions.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from wecityctl.model import naming
from wecityctl.model.city import App, Canary, City, Component
from wecityctl.model.shares import canary_replicas

# Tenant and name of an app.
AppKey = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Share:
    """What runs of one component. `stable` is the older release that it is held at; `None`: what the files say.

    `canary` gets `weight` percent of the requests. With a weight of 0 it is there and gets none.
    """

    component: str
    stable: Component | None = None
    canary: Component | None = None
    weight: int = 0


def canary_part(app: App) -> Component | None:
    """The component of the files that is released by canary; `None` if the app has none."""
    web = app.web_component
    is_canary = web is not None and web.strategy is not None and web.strategy.type == "canary"
    return web if is_canary else None


def with_shares(city: City, shares: Mapping[AppKey, tuple[Share, ...]]) -> City:
    """The city with these components held and these canaries added, each app's by component."""
    if not shares:
        return city
    return replace(city, apps=tuple(_with_shares(app, shares.get((app.tenant, app.name), ())) for app in city.apps))


def declared(app: App) -> App:
    """The app as its files say it, whatever is held or added."""
    if not any(part.canary or part.declared for part in app.components):
        return app
    parts = tuple(part.declared or part for part in app.components if part.canary is None)
    return replace(app, components=parts)


def held_at(stable: Component, said: Component) -> Component:
    """An older release of a component: how many pods there are, how they are replaced, and how large their volumes are
    is said by the files."""
    sizes = {volume.name: volume.size for volume in said.volumes}
    return replace(
        stable,
        name=said.name,
        volumes=tuple(replace(volume, size=sizes.get(volume.name, volume.size)) for volume in stable.volumes),
        replicas=said.replicas,
        autoscale=said.autoscale,
        strategy=said.strategy,
        architectures=said.architectures,
        declared=said,
        canary=None,
    )


def _with_shares(app: App, shares: tuple[Share, ...]) -> App:
    for share in shares:
        app = _with_share(app, share)
    return app


def _with_share(app: App, share: Share) -> App:
    parts: list[Component] = []
    added: list[Component] = []
    for part in app.components:
        if part.name != share.component:
            parts.append(part)
            continue
        parts.append(held_at(share.stable, part) if share.stable is not None else part)
        if share.canary is not None:
            added.append(_canary(share.canary, part, share.weight))
    # At the end, so that the positions of the others stay those of the files.
    return replace(app, components=(*parts, *added))


def _canary(version: Component, said: Component, weight: int) -> Component:
    return replace(
        version,
        name=naming.canary_component(said.name),
        replicas=canary_replicas(said, weight),
        autoscale=None,
        strategy=None,
        architectures=said.architectures,
        declared=None,
        canary=Canary(said.name, weight),
    )
