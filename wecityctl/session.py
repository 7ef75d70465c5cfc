"""One city, opened: its files read, its plan made, its images named. Commands start here.

Nothing outside is touched; `clusters` reaches the clouds and `engine` runs the stacks.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

from wecityctl.inputs import Cluster, StackInputs, reaches
from wecityctl.model.catalogue import Catalogue
from wecityctl.model.city import City
from wecityctl.model.outputs import Outputs
from wecityctl.model.waivers import as_of
from wecityctl.placement import InfeasiblePlacementError, Placement, place
from wecityctl.plan import Plan, make_plan
from wecityctl.spec.loaded import Positions

# Where a city's capabilities and apps stand now; `None` for one that is not there yet, or that has no choice.
Standing = Callable[[City], Placement | None]


@dataclass(frozen=True, slots=True)
class Session:
    """A checked city with everything that follows from its files, and from where things stand.

    `placement` tells how it was found and what moves; the plan's own has just the clouds.
    """

    path: Path
    city: City
    catalogue: Catalogue
    plan: Plan
    images: Mapping[str, str]
    positions: Positions
    placement: Placement = field(default_factory=lambda: Placement({}, {}, ""))

    def inputs(
        self,
        stack: str,
        clusters: Mapping[str, Cluster],
        upstream: Mapping[str, Outputs | None],
        secrets: Mapping[str, str],
        provider_version: str,
    ) -> StackInputs:
        """The inputs of one stack's program."""
        chosen = self.plan.stack(stack)
        return StackInputs(
            city=as_of(self.city, date.today()),
            stack=chosen,
            placement=self.plan.placement,
            catalogue=self.catalogue,
            cluster=clusters.get(chosen.cloud),
            upstream={name: upstream.get(name) for name in chosen.depends_on},
            images=self.images,
            provider_version=provider_version,
            secrets={key: secrets[key] for key in chosen.secrets if key in secrets},
            crossings=self.plan.crossings,
            reach=reaches(self.city, self.plan.crossings, chosen.cloud, clusters),
        )


def open_session(path: Path, standing: Standing | None = None, *, explain: bool = False) -> Session:
    """Read, check and place the city at `path`; with `standing`, so that what stands is moved as little as can be.

    Raises `InvalidCityError` with every problem of its files, `InfeasiblePlacementError` with constraints that clash.
    """
    from wecityctl.clusters import image_references
    from wecityctl.spec import load_city
    from wecityctl.stacks.catalogue import load_catalogue

    catalogue = load_catalogue()
    loaded = load_city(path, catalogue)
    city = loaded.city
    try:
        placement = place(city, catalogue, standing(city) if standing is not None else None, explain=explain)
    except InfeasiblePlacementError as error:
        raise located(error, loaded.positions) from None
    return Session(
        path,
        city,
        catalogue,
        make_plan(city, catalogue, placement),
        image_references(city, catalogue),
        loaded.positions,
        placement,
    )


def located(error: InfeasiblePlacementError, positions: Positions) -> InfeasiblePlacementError:
    """The error with the place in the files of each constraint."""
    sources = [item.source for item in error.clash if item.source is not None]
    places = {source: positions.place(source.kind, source.name, *source.path) for source in sources}
    return error.located({source: str(found) for source, found in places.items() if found is not None})
