"""What stacks' programs would register, found out in a worker before anything is changed: no engine, no cloud.

Only the URNs come back. A program that fails here fails again, with all that belongs to it, when its stack is run.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

from wecityctl.engine.wire import ForecastOrder, adopt
from wecityctl.inputs import StackInputs
from wecityctl.model.naming import PROJECT
from wecityctl.model.outputs import Outputs

if TYPE_CHECKING:
    from wecityctl.graph import Recording


def main(descriptor: int) -> None:
    """Answer the one order that comes over `descriptor`."""
    connection = adopt(descriptor)
    order = connection.recv()
    assert isinstance(order, ForecastOrder)
    connection.send(forecast(order.program, order.inputs))
    connection.close()


def forecast(program: str, inputs: tuple[StackInputs, ...]) -> Mapping[str, frozenset[str]]:
    """The URNs that each stack's program registers; stacks come in the plan's order."""
    from wecityctl.engine.recorder import record

    found: dict[str, frozenset[str]] = {}
    outputs: dict[str, Outputs] = {}
    for one in inputs:
        upstream = {name: outputs.get(name, known) for name, known in one.upstream.items()}
        with suppress(Exception):
            recording = record(replace(one, upstream=upstream), program)
            outputs[one.stack.name] = recording.outputs
            found[one.stack.name] = real_urns(recording)
    return found


def real_urns(recording: Recording) -> frozenset[str]:
    """The URNs that the engine will give: in those of the SDK's mocks the chain of types is another."""
    chains: dict[str, str] = {}
    urns = set()
    for resource in recording.resources:
        above = chains.get(resource.parent, "")
        chain = f"{above}${resource.type}" if above else resource.type
        chains[resource.urn] = chain
        urns.add(f"urn:pulumi:{recording.stack}::{PROJECT}::{chain}::{resource.name}")
    return frozenset(urns)
