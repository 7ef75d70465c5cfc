"""The layers of a city's stacks, and parsing of stack names into city, layer, subject and cloud.

Stacks that were removed from the configuration are known by their names only. `naming.stack_name` builds a name;
`StackName.parse` parses it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from wecityctl.model.outputs import LayerName


@dataclass(frozen=True, slots=True)
class Layer:
    """The properties of all stacks of a layer.

    `rank` is the position in the order in which layers are created. `needs_cluster`: its objects are in the cluster of
    its cloud. `has_program`: a program registers its resources. `keeps_data`: `destroy` without `--delete-data` keeps
    the whole stack, because it holds data or is needed to read it; other layers keep single objects.
    """

    name: LayerName
    rank: int
    needs_cluster: bool = True
    has_program: bool = True
    keeps_data: bool = False


_ORDER: Final = (
    Layer("secrets", 0, needs_cluster=False, has_program=False, keeps_data=True),
    Layer("landing", 1, needs_cluster=False, keeps_data=True),
    Layer("base", 2),
    Layer("platform", 3),
    Layer("crossing", 4),
    Layer("tenant", 5),
    Layer("entry", 6),
)
LAYERS: Final[Mapping[str, Layer]] = MappingProxyType({layer.name: layer for layer in _ORDER})


@dataclass(frozen=True, slots=True)
class StackName:
    """The parts of a stack's name. `subject` is the platform or the tenant.

    `subject` and `cloud` are empty if names of the layer do not have them. `layer` may be unknown or empty in the name
    of a stack that is not wecityctl's.
    """

    city: str
    layer: str
    subject: str = ""
    cloud: str = ""

    @classmethod
    def parse(cls, name: str) -> StackName:
        """Parse the name of any stack, such as `xingcheng.tenant.health-commission.main`."""
        city, layer, *rest = (*name.split("."), "") if "." not in name else name.split(".")
        return cls(city, layer, ".".join(rest[:-1]), rest[-1] if rest else "")

    def __str__(self) -> str:
        return ".".join((self.city, *self._below_city()))

    @property
    def within_city(self) -> str:
        """The name without the city, such as `tenant.health-commission.main`."""
        return ".".join(self._below_city())

    @property
    def rank(self) -> int:
        """The position of the stack's layer in the order of creation; an unknown layer comes last."""
        return LAYERS[self.layer].rank if self.layer in LAYERS else len(LAYERS)

    def _below_city(self) -> tuple[str, ...]:
        return tuple(part for part in (self.layer, self.subject, self.cloud) if part)
