"""Compares existing volumes with the files: a volume may grow, and cannot be changed otherwise.

Read from the state before anything runs; otherwise the API server would reject the change in the middle of a run.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from wecityctl.errors import InvalidCityError, Problem
from wecityctl.model import naming
from wecityctl.model.catalogue import Catalogue
from wecityctl.model.city import Capability
from wecityctl.model.quantity import parse_quantity
from wecityctl.model.storage import provisioned_class
from wecityctl.plan import Plan
from wecityctl.spec.loaded import Positions
from wecityctl.spec.nodes import PathItem, SourceLocation, format_path

if TYPE_CHECKING:
    from wecityctl.engine.state.backend import Backend

_CLAIM = "kubernetes:core/v1:PersistentVolumeClaim"


def require_volumes_kept(plan: Plan, catalogue: Catalogue, positions: Positions, backend: Backend) -> None:
    """Raise `InvalidCityError` for volumes of `plan` that would have to shrink or change their storage class."""
    problems = tuple(_problems(plan, catalogue, positions, backend))
    if problems:
        raise InvalidCityError(problems)


def _problems(plan: Plan, catalogue: Catalogue, positions: Positions, backend: Backend) -> Iterator[Problem]:
    for stack in plan.stacks:
        if stack.layer != "platform":
            continue
        here = [
            item
            for item in plan.city.capabilities
            if item.platform == stack.subject and plan.placement.capabilities[item.name] == stack.cloud
        ]
        with_volumes = [item for item in here if catalogue[item.type].storage]
        state = backend.read_state(stack.name) if with_volumes else None
        claims = {item.name: item.inputs for item in state.resources if item.type == _CLAIM} if state else {}
        for capability in with_volumes:
            namespace = naming.platform_namespace(capability.platform, capability.zone)
            claim = claims.get(f"{namespace}/{capability.name}-data")
            if claim is None:
                continue
            wanted = capability.storage or catalogue[capability.type].storage
            standing = _text(claim, "spec", "resources", "requests", "storage")
            if standing and parse_quantity(wanted) < parse_quantity(standing):
                message = f"the volume of {capability.name!r} has {standing}, and no volume can be made smaller"
                expected = f"at least {standing}; a capability of another name gets a volume of its own"
                yield _problem(positions, "Platform", stack.subject, _path(plan, capability), message, expected)
            cloud = plan.city.cloud(stack.cloud)
            old, new = _text(claim, "spec", "storageClassName"), cloud.kubernetes.storage_class
            if provisioned := provisioned_class(plan.city, cloud):
                new = provisioned
            if (cloud.provider == "kubernetes" or provisioned) and old != new:
                message = f"the volume of {capability.name!r} has {_class(old)}, and no volume changes its class"
                path = ("spec", "kubernetes", "storageClass")
                yield _problem(positions, "Cloud", cloud.name, path, message, _class(old))


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
