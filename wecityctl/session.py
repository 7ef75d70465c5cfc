"""An opened city: its files are read, its plan is made, its images are named. Every operation starts here.

Nothing outside the files is accessed: `clusters` connects to the clouds and `engine` runs the stacks.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import date
from pathlib import Path

from wecityctl.errors import InvalidCityError
from wecityctl.image_references import image_references
from wecityctl.inputs import Cluster, StackInputs, narrowed, reaches, without_manifests_of_platforms, without_workloads
from wecityctl.model.catalogue import Catalogue
from wecityctl.model.city import City
from wecityctl.model.observing import observers
from wecityctl.model.outputs import Outputs
from wecityctl.model.rollouts import AppKey, Share, with_shares
from wecityctl.model.waivers import as_of
from wecityctl.placement import InfeasiblePlacementError, Placement, place
from wecityctl.plan import Plan, Stack, make_plan
from wecityctl.spec.loaded import Positions

# Returns where a city's capabilities and apps run now; `None` for a city that does not exist yet or has only one
# option.
PlacementLookup = Callable[[City], Placement | None]


@dataclass(frozen=True, slots=True)
class Session:
    """A validated city with everything derived from its files and its current placement.

    `placement` includes the explanation and the moves; `plan.placement` has only the assignment to clouds. The plan
    selects the stacks that an operation works on.
    """

    path: Path
    city: City
    catalogue: Catalogue
    plan: Plan
    images: Mapping[str, str]
    positions: Positions
    placement: Placement = field(default_factory=lambda: Placement({}, {}, ""))
    # The chosen environment; empty for the city's default one.
    environment: str = ""
    # The city as its files say it, where canaries or held releases make `city` another one.
    declared: City | None = None
    # Names of files that were not read, because they have problems (`open_session` with `usable`).
    left_out: tuple[str, ...] = ()

    @property
    def arguments(self) -> str:
        """The arguments of a command on this city, for messages: the path, and the environment unless it is default."""
        chosen = f" --env {self.environment}" if self.environment else ""
        return f"{self.path}{chosen}"

    def only(self, patterns: tuple[str, ...]) -> Session:
        """Return a session for the matching stacks and what they depend on; for all stacks if `patterns` is empty."""
        return replace(self, plan=self.plan.only(patterns)) if patterns else self

    def needing(self, patterns: tuple[str, ...]) -> Session:
        """Return a session for the matching stacks and what depends on them; for all stacks if `patterns` is empty."""
        return replace(self, plan=self.plan.needing(patterns)) if patterns else self

    @property
    def said(self) -> City:
        """The city as its files say it."""
        return self.declared or self.city

    def with_shares(self, shares: Mapping[AppKey, tuple[Share, ...]]) -> Session:
        """Return a session for the city with these canaries and held releases, and no others; the same stacks are
        selected."""
        if not shares and self.declared is None:
            return self
        city = with_shares(self.said, shares)
        whole, names = make_plan(city, self.catalogue, self.placement), {stack.name for stack in self.plan.stacks}
        plan = whole.selecting(names) if self.plan.is_part else whole
        return replace(self, city=city, declared=self.said, plan=plan)

    def inputs(
        self,
        stack: Stack,
        clusters: Mapping[str, Cluster],
        upstream: Mapping[str, Outputs | None],
        secrets: Mapping[str, str],
        provider_version: str,
        day: date | None = None,
    ) -> StackInputs:
        """Assemble the inputs for the program of `stack`, as of `day` (default: today). No other code assembles them.

        `upstream` has the outputs of the stacks that this one depends on. Of `secrets`, only the keys that it names are
        passed.
        """
        is_landing, is_shared = stack.layer == "landing", stack.layer in ("base", "platform")
        found = StackInputs(
            # What was done with the apps is no part of what is deployed: a new record runs no stack.
            city=replace(as_of(self.city, day or date.today()), lifecycles=()),
            stack=stack,
            placement=self.plan.placement,
            catalogue=self.catalogue,
            cluster=self._cluster(stack, clusters),
            upstream=upstream,
            images=self.images,
            provider_version=provider_version,
            secrets={key: secrets[key] for key in stack.secrets if key in secrets},
            interconnects=self.plan.interconnects,
            reach=reaches(self.city, self.plan.interconnects, stack.cloud, clusters),
        )
        if is_landing:
            return narrowed(found)
        if stack.layer != "platform":
            found = without_manifests_of_platforms(found)
        return without_workloads(found) if is_shared else found

    def _cluster(self, stack: Stack, clusters: Mapping[str, Cluster]) -> Cluster | None:
        """The cluster of `stack`, with the addresses of its API servers if pods of the stack need to reach them or must
        not send alerts there, and for the latter with the networks of all clusters.

        Other stacks do not depend on them: a managed cluster may change them at any time.
        """
        found = None if stack.layer == "landing" else clusters.get(stack.cloud)
        if found is None:
            return None
        if stack.layer != "platform":
            return replace(found, api_servers=(), networks=())
        watching = observers(self.city, self.catalogue, self.plan.placement.capabilities, stack.cloud)
        observes = any(item.platform == stack.subject for item in watching)
        tells = any(
            self.catalogue[item.type].tells_alerts and self.plan.placement.capabilities[item.name] == stack.cloud
            for item in self.city.capabilities
            if item.platform == stack.subject and item.type in self.catalogue
        )
        networks = {cidr for cluster in clusters.values() for cidr in cluster.networks} if tells else set[str]()
        return replace(
            found, api_servers=found.api_servers if observes or tells else (), networks=tuple(sorted(networks))
        )


def open_session(
    path: Path,
    lookup: PlacementLookup | None = None,
    *,
    explain: bool = False,
    lenient: bool = False,
    usable: bool = False,
    changed: Mapping[Path, str] | None = None,
) -> Session:
    """Read, validate and place the city at `path`.

    With `lookup`, the current placement is looked up and as little as possible is moved. `lenient` leaves out partners'
    packages that cannot be loaded, for commands that mend something; a city that needs one cannot be opened without it.
    `usable` leaves out files of other people that have problems (`load_usable`). `changed` has texts that files are to
    get (`load_city`).
    Raises `InvalidCityError` with all problems of the files, `ConfigurationError` for a package that cannot be loaded,
    and `InfeasiblePlacementError` with the constraints that conflict.
    """
    from stacks.catalogue import loadable
    from wecityctl.spec import load_city, load_usable

    found, broken = loadable()
    catalogue = {name: item.type for name, item in found.items()}
    if broken and not lenient:
        raise broken[0]
    try:
        loaded = load_usable(path, catalogue) if usable else load_city(path, catalogue, changed)
    except InvalidCityError as error:
        # It may be that type that the files name.
        raise (broken[0] if broken else error) from None
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
        "" if loaded.is_default else loaded.environment,
        left_out=loaded.left_out,
    )


def located(error: InfeasiblePlacementError, positions: Positions) -> InfeasiblePlacementError:
    """Return the error with the position in the files of each constraint."""
    sources = [item.source for item in error.conflict if item.source is not None]
    places = {source: positions.place(source.kind, source.name, *source.path) for source in sources}
    return error.located({source: str(found) for source, found in places.items() if found is not None})
