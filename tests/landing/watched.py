"""A landing stack recorded with what the recorder leaves out: what is read from the cloud, and answers of a cloud."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pulumi.runtime import mocks

from tests.landing import support
from wecityctl.engine.sdk.recorder import Answers
from wecityctl.model.balancers import Balancer
from wecityctl.model.city import City
from wecityctl.resource_graph import Recording


@dataclass(slots=True)
class Watched:
    """`reads` are resources that were there before, as (token, identifier); `calls` are data functions with what they
    were asked."""

    recording: Recording
    reads: set[tuple[str, str]] = field(default_factory=set)
    calls: dict[str, dict[str, Any]] = field(default_factory=dict)


def watched(
    city: City,
    *,
    outputs: Mapping[str, Mapping[str, Any]] | None = None,
    answers: Mapping[str, dict[str, Any]] | None = None,
    balancers: tuple[Balancer, ...] = (),
) -> Watched:
    """Record the landing stack. `outputs` adds what the cloud itself gives a resource, by token; `answers` is what data
    functions say, by token."""
    reads: set[tuple[str, str]] = set()
    calls: dict[str, dict[str, Any]] = {}

    class Seen(Answers):
        def outputs(self, token: str) -> Mapping[str, Any]:
            return (outputs or {}).get(token, {})

        def new_resource(self, args: mocks.MockResourceArgs) -> tuple[str | None, dict[str, Any]]:
            reads.add((args.typ, args.resource_id or ""))
            return super().new_resource(args)

        def call(self, args: mocks.MockCallArgs) -> tuple[dict[str, Any], list[tuple[str, str]]]:
            calls[args.token] = dict(args.args)
            return (answers or {}).get(args.token, {}), []

    return Watched(support.recorded(city, answers=Seen(), balancers=balancers), reads, calls)


def values_of(recording: Recording) -> set[str]:
    """Every text anywhere in the inputs of any resource."""
    return {text for item in recording.resources for text in _texts(item.inputs)}


def _texts(value: Any) -> list[str]:
    if isinstance(value, Mapping):
        return [text for item in value.values() for text in _texts(item)]
    if isinstance(value, list):
        return [text for item in value for text in _texts(item)]
    return [value] if isinstance(value, str) else []
