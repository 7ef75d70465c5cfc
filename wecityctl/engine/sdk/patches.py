"""Removes work that the SDK does for each resource and that we do not need: about half of its time.

Used only in processes that run programs, such as workers and recorders. Programs see no difference.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import pulumi
from pulumi import _types, output
from pulumi.runtime import resource, rpc
from pulumi.runtime.proto import source_pb2

_create_urn = resource.create_urn
_TYPE_LOOKUPS = {
    name: functools.cache(getattr(_types, name))
    for name in ("resource_types", "resource_pulumi_to_py_names", "resource_py_to_pulumi_names")
}

_PLAIN = (str, int, float, bool, type(None))


def _no_debug_messages() -> None:
    """Skip debug messages: each would be one remote call, and none is shown."""
    pulumi.log.debug = lambda *args, **options: None


def _no_source_positions() -> None:
    """Skip stack traces of our programs at each registration: they fill most of a small state and
    contain local paths.
    """
    resource._get_stack_trace = source_pb2.StackTrace
    resource._get_source_position = lambda stack: None


def _no_urns_of_plain_names() -> None:
    """Skip the placeholder URN that the SDK computes from six outputs where there is no monitor."""
    resource.create_urn = _create_urn_of_outputs


def _types_read_once() -> None:
    """Cache the declared types of a class, which the SDK reads again for each of its resources."""
    for name, cached in _TYPE_LOOKUPS.items():
        setattr(_types, name, cached)


def _plain_outputs_known() -> None:
    """Skip the search for unknowns in plain values, which are most outputs."""
    setattr(output, "contains_unknowns", _contains_unknowns)  # noqa: B010 - mypy takes a function's name for final


# By the names of their rows in `make bench`.
PATCHES: Mapping[str, Callable[[], None]] = MappingProxyType(
    {
        "no debug messages": _no_debug_messages,
        "no source positions": _no_source_positions,
        "no URNs of plain names": _no_urns_of_plain_names,
        "types read once": _types_read_once,
        "plain outputs known": _plain_outputs_known,
    }
)


def lighten() -> None:
    """Apply every patch in this process; a second call changes nothing."""
    for patch in PATCHES.values():
        patch()


def _contains_unknowns(value: Any) -> bool:
    """Answer at once for plain values, which are most outputs and contain no unknowns."""
    return type(value) not in _PLAIN and rpc.contains_unknowns(value)


class _NoUrn:
    """A placeholder that is awaited instead of a URN and never read."""

    async def future(self) -> None:
        return None


def _create_urn_of_outputs(name: Any, type_: Any, parent: Any = None, *place: Any, **named: Any) -> Any:
    """Call the SDK's own function if a URN is computed from outputs, as for aliases. Nothing reads the URN of plain
    names.
    """
    if not place and not named and all(isinstance(part, str | None) for part in (name, type_, parent)):
        return _NoUrn()
    return _create_urn(name, type_, parent, *place, **named)
