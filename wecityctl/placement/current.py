"""The placement that stands, put together from what stacks say of themselves."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from wecityctl.model.outputs import Outputs, PlatformOutputs, TenantOutputs
from wecityctl.placement.model import Placement


@dataclass(frozen=True, slots=True)
class CurrentPlacement:
    """What one stack carries. `apps` are (tenant, app); `since` is when it was last changed, an RFC 3339 time."""

    cloud: str
    capabilities: tuple[str, ...] = ()
    apps: tuple[tuple[str, str], ...] = ()
    since: str = ""


def standing_of(outputs: Outputs | None, since: str = "") -> CurrentPlacement | None:
    """What the outputs of a platform or tenant say; `None` where they say nothing of it."""
    match outputs:
        case PlatformOutputs():
            return CurrentPlacement(outputs.cloud, tuple(item.capability for item in outputs.endpoints), (), since)
        case TenantOutputs(apps=apps) if apps is not None:
            return CurrentPlacement(outputs.cloud, (), tuple((outputs.tenant, app) for app in apps), since)
        case _:
            return None


def placement_from(found: Iterable[CurrentPlacement]) -> Placement | None:
    """Where everything stands, `None` where nothing does. What is in two stacks – a move that was interrupted – stands
    in the one that was changed last."""
    capabilities: dict[str, str] = {}
    apps: dict[tuple[str, str], str] = {}
    for each in sorted(found, key=lambda item: item.since):
        capabilities |= dict.fromkeys(each.capabilities, each.cloud)
        apps |= dict.fromkeys(each.apps, each.cloud)
    return Placement(capabilities, apps, "") if capabilities or apps else None
