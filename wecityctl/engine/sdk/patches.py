"""What the SDK does for each resource and nobody here needs, left out: about half of its time.

A process that runs programs serves them alone, as a worker or a recorder. Nothing that a program can see changes.
"""

from __future__ import annotations

import functools
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


def lighten() -> None:
    """Leave it out in this process from now on; a second call changes nothing."""
    # One remote call per message that is not shown: a sixth of the SDK's time.
    pulumi.log.debug = lambda *args, **options: None
    # The frames of our own programs on each registration: they made most of a small state, with this machine's paths.
    resource._get_stack_trace = source_pb2.StackTrace
    resource._get_source_position = lambda stack: None
    # A URN that stands in for the monitor's answer where there is no monitor, and six outputs to work it out.
    resource.create_urn = _create_urn_of_outputs
    # What a class declares is read again for each of its resources.
    for name, cached in _TYPE_LOOKUPS.items():
        setattr(_types, name, cached)
    setattr(output, "contains_unknowns", _contains_unknowns)  # noqa: B010 - mypy takes a function's name for final


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
