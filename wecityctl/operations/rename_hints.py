"""Notes for runs in which an app or a volume of a component goes and another comes: perhaps it was renamed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from wecityctl.model import naming
from wecityctl.model.stacknames import StackName

if TYPE_CHECKING:
    from wecityctl.model.city import City
    from wecityctl.model.events import RunResult

_APP = "wecity:tenant:App"
_CLAIM = "kubernetes:core/v1:PersistentVolumeClaim"


def rename_hints(city: City, result: RunResult) -> Iterator[str]:
    """Yield a note for each tenant that loses apps and gets others with data, and for each component that does with
    volumes.
    """
    yield from _of_apps(city, result)
    yield from _of_volumes(city, result)


def _of_apps(city: City, result: RunResult) -> Iterator[str]:
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


def _of_volumes(city: City, result: RunResult) -> Iterator[str]:
    gone = {item.name for item in result.kept if item.type == _CLAIM}
    come = {item.name for each in result.results for item in each.changes if (item.type, item.op) == (_CLAIM, "create")}
    for app in city.apps if gone and come else ():
        namespace = naming.tenant_namespace(app.tenant, app.zone)
        for part in app.components:
            claims = f"{namespace}/{naming.component_workload(app.name, part.name)}-"
            new = [
                item.name for item in part.volumes if f"{namespace}/{_claim(app.name, part.name, item.name)}" in come
            ]
            # Another component's name may begin with this one's.
            old = sorted(name.removeprefix(claims) for name in gone if name.startswith(claims))
            if new and old:
                yield (
                    f"volume {' and '.join(new)} of {app.tenant}/{app.name}/{part.name} begins empty, and the data of "
                    f"{' and '.join(old)} stays unused; to go on with it, keep the name {old[0]!r}"
                )


def _claim(app: str, component: str, volume: str) -> str:
    return naming.volume_claim(naming.component_workload(app, component), volume)


def _names(tenant: str, apps: list[str]) -> str:
    return " and ".join(f"{tenant}/{name}" for name in apps)
