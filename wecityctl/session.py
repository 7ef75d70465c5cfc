"""One city, opened: its files read, its plan made, its images named. Operations start here.

Nothing outside is touched; `clusters` reaches the clouds and `engine` runs the stacks.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import date
from pathlib import Path

from wecityctl.image_references import image_references
from wecityctl.inputs import Cluster, StackInputs, narrowed, reaches
from wecityctl.model.catalogue import Catalogue
from wecityctl.model.city import City
from wecityctl.model.outputs import Outputs
from wecityctl.model.waivers import as_of
from wecityctl.placement import InfeasiblePlacementError, Placement, place
from wecityctl.plan import Plan, Stack, make_plan
from wecityctl.spec.loaded import Positions

# Where a city's capabilities and apps stand now; `None` for one that is not there yet, or that has no choice.
PlacementLookup = Callable[[City], Placement | None]


@dataclass(frozen=True, slots=True)
class Session:
    """A checked city with everything that follows from its files, and from where things stand.

    `placement` tells how it was found and what moves; the plan's own has just the clouds. The plan's stacks are those
    that an operation is for.
    """

    path: Path
    city: City
    catalogue: Catalogue
    plan: Plan
    images: Mapping[str, str]
    positions: Positions
    placement: Placement = field(default_factory=lambda: Placement({}, {}, ""))

    def only(self, patterns: tuple[str, ...]) -> Session:
        """The session for the stacks that match and what they need; for all of them where nothing is named."""
        return replace(self, plan=self.plan.only(patterns)) if patterns else self

    def needing(self, patterns: tuple[str, ...]) -> Session:
        """The session for the stacks that match and what depends on them; for all of them where nothing is named."""
        return replace(self, plan=self.plan.needing(patterns)) if patterns else self

    def inputs(
        self,
        stack: Stack,
        clusters: Mapping[str, Cluster],
        upstream: Mapping[str, Outputs | None],
        secrets: Mapping[str, str],
        provider_version: str,
        day: date | None = None,
    ) -> StackInputs:
        """What the program of `stack` is given, on `day` or else today: the one place where it is put together.

        `upstream` are the outputs that the stack depends on; of `secrets` it gets just those that it names.
        """
        is_landing = stack.layer == "landing"
        found = StackInputs(
            city=as_of(self.city, day or date.today()),
            stack=stack,
            placement=self.plan.placement,
            catalogue=self.catalogue,
            cluster=None if is_landing else clusters.get(stack.cloud),
            upstream=upstream,
            images=self.images,
            provider_version=provider_version,
            secrets={key: secrets[key] for key in stack.secrets if key in secrets},
            interconnects=self.plan.interconnects,
            reach=reaches(self.city, self.plan.interconnects, stack.cloud, clusters),
        )
        return narrowed(found) if is_landing else found


def open_session(path: Path, lookup: PlacementLookup | None = None, *, explain: bool = False) -> Session:
    """Read, check and place the city at `path`; with `standing`, so that what stands is moved as little as can be.

    Raises `InvalidCityError` with every problem of its files, `InfeasiblePlacementError` with constraints that
    conflict."""
    from stacks.catalogue import load_catalogue
    from wecityctl.spec import load_city

    catalogue = load_catalogue()
    loaded = load_city(path, catalogue)
    city = loaded.city
    try:
        placement = place(city, catalogue, lookup(city) if lookup is not None else None, explain=explain)
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
    sources = [item.source for item in error.conflict if item.source is not None]
    places = {source: positions.place(source.kind, source.name, *source.path) for source in sources}
    return error.located({source: str(found) for source, found in places.items() if found is not None})
