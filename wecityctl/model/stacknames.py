"""The layers of a city's stacks, and the names of stacks, which tell city, layer, subject and cloud.

Stacks that were removed from the configuration are known by their names alone. `naming.stack_name` writes a name,
`StackName.parse` reads it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from wecityctl.model.outputs import LayerName


@dataclass(frozen=True, slots=True)
class Layer:
    """What the stacks of a layer have in common.

    `rank` is the layer's place in the order in which layers come up. `needs_cluster`: its objects are in the cluster of
    its cloud. `has_program`: a program registers its resources. `keeps_data`: `destroy` without `--delete-data` leaves
    the whole stack in place, because data is in it or cannot be read without it; other layers keep single objects.
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
    """A stack's name in its parts. `subject` is the platform or the tenant; `subject` and `cloud` are empty where the
    layer's names have none. `layer` may be none of `LAYERS`, or empty, in the name of a stack that is not ours."""

    city: str
    layer: str
    subject: str = ""
    cloud: str = ""

    @classmethod
    def parse(cls, name: str) -> StackName:
        """The parts of any stack's name, such as `xingcheng.tenant.health-commission.main`."""
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
        """The place of the stack's layer in the order in which layers come up; after all of them for an unknown one."""
        return LAYERS[self.layer].rank if self.layer in LAYERS else len(LAYERS)

    def _below_city(self) -> tuple[str, ...]:
        return tuple(part for part in (self.layer, self.subject, self.cloud) if part)
