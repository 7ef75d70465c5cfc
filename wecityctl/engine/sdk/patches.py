"""Patches that make the SDK skip, for each resource, what nobody here needs: about half of its time.

A process that runs programs serves them alone, as a worker or a recorder. Nothing that a program can see changes.
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
    """One remote call per message that is not shown."""
    pulumi.log.debug = lambda *args, **options: None


def _no_source_positions() -> None:
    """The frames of our own programs on each registration made most of a small state, with this machine's paths."""
    resource._get_stack_trace = source_pb2.StackTrace
    resource._get_source_position = lambda stack: None


def _no_urns_of_plain_names() -> None:
    """A URN that stands in for the monitor's answer where there is no monitor, and six outputs to work it out."""
    resource.create_urn = _create_urn_of_outputs


def _types_read_once() -> None:
    """What a class declares is read again for each of its resources."""
    for name, cached in _TYPE_LOOKUPS.items():
        setattr(_types, name, cached)


def _plain_outputs_known() -> None:
    """Whether a value has unknowns is asked of every output, most of which are plain."""
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
    """Asked of every output, most of which are plain; nothing is in those."""
    return type(value) not in _PLAIN and rpc.contains_unknowns(value)


class _NoUrn:
    """What is awaited in place of a URN and never looked at."""

    async def future(self) -> None:
        return None


def _create_urn_of_outputs(name: Any, type_: Any, parent: Any = None, *place: Any, **named: Any) -> Any:
    """The SDK's own where a URN is worked out from outputs, as for aliases; of plain names nobody asks for one."""
    if not place and not named and all(isinstance(part, str | None) for part in (name, type_, parent)):
        return _NoUrn()
    return _create_urn(name, type_, parent, *place, **named)
