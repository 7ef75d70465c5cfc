"""Compares existing volumes with the files: a volume may grow, stays its app's, and cannot be changed otherwise.

Read from the state before anything runs; otherwise the API server would reject the change in the middle of a run.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from wecityctl.errors import InvalidCityError, Problem
from wecityctl.model import naming
from wecityctl.model.catalogue import Catalogue
from wecityctl.model.city import Capability
from wecityctl.model.quantity import parse_quantity
from wecityctl.model.storage import provisioned_class
from wecityctl.plan import Plan, Stack
from wecityctl.provider.adoption import data_owner
from wecityctl.spec.loaded import Positions
from wecityctl.spec.nodes import PathItem, SourceLocation, format_path

if TYPE_CHECKING:
    from wecityctl.engine.state.backend import Backend

_CLAIM = "kubernetes:core/v1:PersistentVolumeClaim"


def require_volumes_kept(plan: Plan, catalogue: Catalogue, positions: Positions, backend: Backend) -> None:
    """Raise `InvalidCityError` for volumes of `plan` that would shrink or change their class or app."""
    problems = tuple(_problems(plan, catalogue, positions, backend))
    if problems:
        raise InvalidCityError(problems)


def planned_volumes(plan: Plan, catalogue: Catalogue) -> frozenset[tuple[str, str]]:
    """Return the volumes that the files ask for, as cloud and `namespace/claim`."""
    return frozenset(
        (stack.cloud, volume.claim)
        for stack in plan.stacks
        for volume in (*_of_capabilities(plan, catalogue, stack), *_of_apps(plan, stack))
    )


@dataclass(frozen=True, slots=True)
class _Volume:
    """A volume of the files: the claim's namespace and name, the size, what it is called, and its size's place."""

    claim: str
    size: str
    title: str
    kind: str
    name: str
    path: tuple[PathItem, ...]
    # `TENANT/APP` as the labels of its claim say; empty for a capability's.
    owner: str = ""


def _problems(plan: Plan, catalogue: Catalogue, positions: Positions, backend: Backend) -> Iterator[Problem]:
    for stack in plan.stacks:
        volumes = [*_of_capabilities(plan, catalogue, stack), *_of_apps(plan, stack)]
        state = backend.read_state(stack.name) if volumes else None
        claims = {item.name: item.inputs for item in state.resources if item.type == _CLAIM} if state else {}
        for volume in volumes:
            claim = claims.get(volume.claim)
            if claim is None:
                continue
            had_by = data_owner({"kind": "PersistentVolumeClaim", **claim})
            if volume.owner and had_by not in ("", volume.owner):
                message = f"{volume.title} would be that of app {had_by}, whose claim {volume.claim} has its files"
                path = (*volume.path[:-1], "name")
                yield _problem(positions, volume.kind, volume.name, path, message, "another name for the volume")
                continue
            standing = _text(claim, "spec", "resources", "requests", "storage")
            if standing and parse_quantity(volume.size) < parse_quantity(standing):
                message = f"{volume.title} has {standing}, and no volume can be made smaller"
                what = "a capability" if volume.kind == "Platform" else "a volume"
                expected = f"at least {standing}; {what} of another name gets a new, empty volume"
                yield _problem(positions, volume.kind, volume.name, volume.path, message, expected)
            cloud = plan.city.cloud(stack.cloud)
            old, new = _text(claim, "spec", "storageClassName"), cloud.kubernetes.storage_class
            if provisioned := provisioned_class(plan.city, cloud):
                new = provisioned
            if (cloud.provider == "kubernetes" or provisioned) and old != new:
                message = f"{volume.title} has {_class(old)}, and no volume changes its class"
                path = ("spec", "kubernetes", "storageClass")
                yield _problem(positions, "Cloud", cloud.name, path, message, _class(old))


def _of_capabilities(plan: Plan, catalogue: Catalogue, stack: Stack) -> Iterator[_Volume]:
    for item in plan.city.capabilities if stack.layer == "platform" else ():
        default = catalogue[item.type].storage
        if item.platform != stack.subject or plan.placement.capabilities[item.name] != stack.cloud or not default:
            continue
        claim = f"{naming.platform_namespace(item.platform, item.zone)}/{item.name}-data"
        title = f"the volume of {item.name!r}"
        yield _Volume(claim, item.storage or default, title, "Platform", stack.subject, _path(plan, item))


def _of_apps(plan: Plan, stack: Stack) -> Iterator[_Volume]:
    for app in plan.city.apps_of(stack.subject) if stack.layer == "tenant" else ():
        if plan.placement.apps.get((app.tenant, app.name)) != stack.cloud:
            continue
        namespace = naming.tenant_namespace(app.tenant, app.zone)
        for number, part in enumerate(app.components):
            workload = naming.component_workload(app.name, part.name)
            for index, volume in enumerate(part.volumes):
                claim = f"{namespace}/{naming.volume_claim(workload, volume.name)}"
                path = ("spec", "components", number, "volumes", index, "size")
                title, name = f"the volume {volume.name!r}", f"{app.tenant}/{app.name}"
                yield _Volume(claim, volume.size, title, "App", name, path, f"{app.tenant}/{app.name}")


def _text(claim: Any, *path: str) -> str:
    """Return a text field of a claim in the state; empty if it is missing."""
    node = claim
    for key in path:
        node = node.get(key) if isinstance(node, dict) else None
    return node if isinstance(node, str) else ""


def _class(name: str) -> str:
    return f"storage class {name!r}" if name else "the cluster's default storage class"


def _path(plan: Plan, capability: Capability) -> tuple[PathItem, ...]:
    platform = next(item for item in plan.city.platforms if item.name == capability.platform)
    return "spec", "capabilities", platform.capabilities.index(capability), "storage"


def _problem(
    positions: Positions, kind: str, name: str, path: tuple[PathItem, ...], message: str, expected: str
) -> Problem:
    place = positions.place(kind, name, *path) or SourceLocation("")
    return Problem(place.file, place.line, place.column, format_path(path), message, expected)
