"""What stacks' programs would register, found out in a worker before anything is changed: no engine, no cloud.

A program that fails here fails again, with all that belongs to it, when its stack is run.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from wecityctl.engine.process.ipc import ForecastOrder, adopt
from wecityctl.inputs import StackInputs
from wecityctl.model.events import ResourceChange
from wecityctl.model.naming import PROJECT
from wecityctl.model.outputs import Outputs

if TYPE_CHECKING:
    from wecityctl.resource_graph import Recording


@dataclass(frozen=True, slots=True)
class Forecast:
    """What one stack's program registers, as creations under the engine's own URNs; `error` where it fails."""

    changes: tuple[ResourceChange, ...] = ()
    error: str = ""

    @property
    def urns(self) -> frozenset[str]:
        return frozenset(change.urn for change in self.changes)


def main(descriptor: int) -> None:
    """Answer the one order that comes over `descriptor`."""
    connection = adopt(descriptor)
    order = connection.recv()
    assert isinstance(order, ForecastOrder)
    connection.send(forecast(order.program, order.inputs))
    connection.close()


def forecast(program: str, inputs: tuple[StackInputs, ...]) -> Mapping[str, Forecast]:
    """What each stack's program registers; stacks come in the plan's order, so that one's outputs are the next's."""
    from wecityctl.engine.sdk.recorder import record

    found: dict[str, Forecast] = {}
    outputs: dict[str, Outputs] = {}
    for one in inputs:
        upstream = {name: outputs.get(name, known) for name, known in one.upstream.items()}
        try:
            recording = record(replace(one, upstream=upstream), program)
        except Exception as error:
            found[one.stack.name] = Forecast(error=f"{type(error).__name__}: {error}")
        else:
            outputs[one.stack.name] = recording.outputs
            found[one.stack.name] = Forecast(creations(recording))
    return found


def creations(recording: Recording) -> tuple[ResourceChange, ...]:
    """The recorded resources as creations. In the URNs of the SDK's mocks the chain of types is not the engine's."""
    chains: dict[str, str] = {}
    found = []
    for resource in recording.resources:
        above = chains.get(resource.parent, "")
        chain = f"{above}${resource.type}" if above else resource.type
        chains[resource.urn] = chain
        urn = f"urn:pulumi:{recording.stack}::{PROJECT}::{chain}::{resource.name}"
        found.append(ResourceChange(urn, resource.type, resource.name, "create"))
    return tuple(found)
