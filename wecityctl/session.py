"""One city, opened: its files read, its plan made, its images named. Commands start here.

Nothing outside is touched; `clusters` reaches the clouds and `engine` runs the stacks.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from wecityctl.inputs import Cluster, StackInputs, reaches
from wecityctl.model.catalogue import Catalogue
from wecityctl.model.city import City
from wecityctl.model.outputs import Outputs
from wecityctl.plan import Plan, make_plan
from wecityctl.spec.load import Positions


@dataclass(frozen=True, slots=True)
class Session:
    """A checked city with everything that follows from its files alone."""

    path: Path
    city: City
    catalogue: Catalogue
    plan: Plan
    images: Mapping[str, str]
    positions: Positions

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
            city=self.city,
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


def open_session(path: Path) -> Session:
    """Read and check the city at `path`. Raises `InvalidCityError` with every problem of its files."""
    from wecityctl.clusters import image_references
    from wecityctl.spec import load_city
    from wecityctl.stacks.catalogue import load_catalogue

    catalogue = load_catalogue()
    loaded = load_city(path, catalogue)
    city = loaded.city
    return Session(
        path, city, catalogue, make_plan(city, catalogue), image_references(city, catalogue), loaded.positions
    )
