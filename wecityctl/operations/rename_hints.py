"""Notes for runs in which one app of a tenant goes and another comes: perhaps it was renamed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from wecityctl.model.stacknames import StackName

if TYPE_CHECKING:
    from wecityctl.model.city import City
    from wecityctl.model.events import RunResult

_APP = "wecity:tenant:App"


def rename_hints(city: City, result: RunResult) -> Iterator[str]:
    """Yield a note for each tenant that loses apps and gets others with data."""
    gone, come = dict[str, set[str]](), dict[str, set[str]]()
    for item in result.results:
        stack = StackName.parse(item.stack)
        if stack.layer != "tenant":
            continue
        for change in item.changes:
            if change.type == _APP and change.op in ("create", "delete"):
                found = come if change.op == "create" else gone
                found.setdefault(stack.subject, set()).add(change.name)
    for tenant in sorted(gone.keys() & come.keys()):
        # An app that is in both goes from one cloud to another.
        old, new = sorted(gone[tenant] - come[tenant]), come[tenant] - gone[tenant]
        holding = sorted(
            app.name
            for app in city.apps_of(tenant)
            if app.name in new and (app.uses or any(part.volumes for part in app.components))
        )
        if old and holding:
            yield (
                f"{_names(tenant, holding)} begins with new, empty databases and volumes, and {_names(tenant, old)} "
                f"goes; if it was renamed, keep its data: in tenant {tenant}, "
                f"moved: [{{from: app/{old[0]}, to: app/{holding[0]}}}]"
            )


def _names(tenant: str, apps: list[str]) -> str:
    return " and ".join(f"{tenant}/{name}" for name in apps)
