"""The current placement, assembled from the outputs of stacks."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from wecityctl.model.outputs import Outputs, PlatformOutputs, TenantOutputs
from wecityctl.placement.model import Placement


@dataclass(frozen=True, slots=True)
class CurrentPlacement:
    """What one stack runs. `apps` are (tenant, app); `since` is its last change, an RFC 3339 time."""

    cloud: str
    capabilities: tuple[str, ...] = ()
    apps: tuple[tuple[str, str], ...] = ()
    since: str = ""


def placement_of(outputs: Outputs | None, since: str = "") -> CurrentPlacement | None:
    """Read the outputs of a platform or tenant stack; `None` if they contain no placement."""
    match outputs:
        case PlatformOutputs():
            return CurrentPlacement(outputs.cloud, tuple(item.capability for item in outputs.endpoints), (), since)
        case TenantOutputs(apps=apps) if apps is not None:
            return CurrentPlacement(outputs.cloud, (), tuple((outputs.tenant, app) for app in apps), since)
        case _:
            return None


def placement_from(found: Iterable[CurrentPlacement]) -> Placement | None:
    """The current placement; `None` if nothing is placed.

    What is in two stacks, because a move was interrupted, is where the stack was changed last.
    """
    capabilities: dict[str, str] = {}
    apps: dict[tuple[str, str], str] = {}
    for each in sorted(found, key=lambda item: item.since):
        capabilities |= dict.fromkeys(each.capabilities, each.cloud)
        apps |= dict.fromkeys(each.apps, each.cloud)
    return Placement(capabilities, apps, "") if capabilities or apps else None
