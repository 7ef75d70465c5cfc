"""Records the releases of apps without a canary, after a run that has made them what their files say."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from wecityctl.errors import WecityError
from wecityctl.model import naming
from wecityctl.model.registries import resolve_image
from wecityctl.model.releases import AppReleases, Part, Release, fixed, released_parts, version_of, version_of_all
from wecityctl.model.rollouts import AppKey, canary_part
from wecityctl.operations.rollouts.planning import now, stacks_of
from wecityctl.operations.rollouts.watching import image_digests

if TYPE_CHECKING:
    from wecityctl.model.city import App
    from wecityctl.model.events import RunResult, StackResult
    from wecityctl.operations.rollouts.moves import Now
    from wecityctl.operations.stack_operation import StackOperation

_GOOD = ("succeeded", "unchanged", "skipped")


def record_releases(work: StackOperation, found: RunResult, *, into: RunResult | None = None) -> RunResult:
    """Record each app whose components run another version than its record says, after the run that `found` is of.

    Nothing is read or written if there is none. Returns `found`, or the result `into` of several runs. A record that
    cannot be written is told there in a note: the run has succeeded.
    """
    from wecityctl.engine.state import releases

    result = into or found
    changed = [app for app in _of_files(work, found) if _is_new(app, work.records, work.session.images)]
    if work.backend.states is None or not changed:
        return result
    try:
        digests = _digests(work, changed)
        fresh, at, new = releases.read_all(work.backend), now(), []
        for app in changed:
            key = (app.tenant, app.name)
            canary = work.records[key].component if key in work.records else ""
            new.append(released(app, fresh.get(key), work.session.images, at, digests[key], canary=canary))
        releases.write_all(work.backend, [record for record in new if record is not None])
        work.records = releases.read_all(work.backend, heads=True)
    except (WecityError, OSError) as error:
        return replace(result, notes=(*result.notes, f"releases of apps were not recorded: {error}"))
    return result


def released(
    app: App,
    record: AppReleases | None,
    images: Mapping[str, str],
    now: Now,
    digests: Mapping[str, str],
    *,
    canary: str = "",
) -> AppReleases | None:
    """Return the record of an app that runs what its files say; `None` if the present one says the same.

    `images` are the references of catalogue images, `digests` those of the images that its components' pods run.
    `canary` is the component that was released by canary before the run.
    """
    parts = released_parts(app)
    version, base = version_of_all(parts, images), record or AppReleases(app.tenant, app.name, "")
    current, held = base.current, base.held
    if base.rollout is not None or not parts or (held is not None and held.version == version):
        # A rollout is still to end, or somebody undoes it meanwhile.
        return None
    if current is not None and not base.component and current.version == version:
        return None
    stated = tuple(
        Part(fixed(part, images), resolve_image(part.image, images, ""), digests.get(part.name, "")) for part in parts
    )
    release = Release(0, now.at, now.who, version, stated)
    by_canary = next((part for part in parts if part.name == canary), None)
    # The last canary's release goes on: only how it is recorded changes.
    same = by_canary and current is not None and current.version_for(by_canary.name) == version_of(by_canary, images)
    base = replace(base, component="", held=None)
    return base.replaced(release) if same else base.released(release)


def _is_new(app: App, records: Mapping[AppKey, AppReleases], images: Mapping[str, str]) -> bool:
    record, parts = records.get((app.tenant, app.name)), released_parts(app)
    if record is None or record.current is None or record.component:
        return bool(parts)
    return record.current.version != version_of_all(parts, images)


def _of_files(work: StackOperation, result: RunResult) -> Iterator[App]:
    """Yield the apps without a canary that run what their files say, after this run."""
    found = {item.stack: item for item in result.results}
    held = {move.key for move in work.rollouts if move.shares}
    for app in work.session.said.apps:
        if not app.runs or canary_part(app) is not None or (app.tenant, app.name) in held:
            continue
        stack = found.get(stacks_of(work.session, app).tenant)
        record = work.records.get((app.tenant, app.name))
        if stack is not None and (stack.outcome in _GOOD or _is_made(work, app, record, stack)):
            yield app


def _is_made(work: StackOperation, app: App, record: AppReleases | None, stack: StackResult) -> bool:
    """Whether a run in which something else has failed has made all that is new of the app."""
    namespace, images = naming.tenant_namespace(app.tenant, app.zone), work.session.images
    names = {part.name: f"{namespace}/{naming.component_workload(app.name, part.name)}" for part in app.components}
    made, failed = {item.name for item in stack.changes}, {item.name for item in stack.failed}
    current = record.current if record is not None else None
    new = [
        names[part.name]
        for part in released_parts(app)
        if current is None or current.version_for(part.name) != version_of(part, images)
    ]
    return bool(new) and made.issuperset(new) and failed.isdisjoint(names.values())


def _digests(work: StackOperation, apps: list[App]) -> dict[AppKey, Mapping[str, str]]:
    """Return the digests of the images that the apps' pods run, by app and component; pods are listed by namespace."""
    found: dict[AppKey, Mapping[str, str]] = {}
    clouds = work.session.plan.placement.apps
    for cloud, namespace in sorted({(clouds[app.tenant, app.name], _namespace(app)) for app in apps}):
        cluster = work.clusters.found.get(cloud)
        of_pods = image_digests(cluster, namespace) if cluster is not None else {}
        for app in apps:
            if (clouds[app.tenant, app.name], _namespace(app)) == (cloud, namespace):
                found[app.tenant, app.name] = {name: item for (of, name), item in of_pods.items() if of == app.name}
    return found


def _namespace(app: App) -> str:
    return naming.tenant_namespace(app.tenant, app.zone)
