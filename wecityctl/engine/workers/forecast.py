"""Finds out, in a worker process, which resources the stacks' programs would register. Needs no engine and no cloud.

A program that fails here fails again, with its full error, when its stack runs.
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
    """The resources that one stack's program registers, as creations under the engine's URNs; `error` if the program
    fails.
    """

    changes: tuple[ResourceChange, ...] = ()
    error: str = ""

    @property
    def urns(self) -> frozenset[str]:
        return frozenset(change.urn for change in self.changes)


def main(descriptor: int) -> None:
    """Answer the one `ForecastOrder` that arrives on the socket `descriptor`."""
    connection = adopt(descriptor)
    order = connection.recv()
    assert isinstance(order, ForecastOrder)
    connection.send(forecast(order.program, order.inputs))
    connection.close()


def forecast(program: str, inputs: tuple[StackInputs, ...]) -> Mapping[str, Forecast]:
    """Return what each stack's program registers, by stack name.

    `inputs` must be in the plan's order, because the outputs of a stack are passed on to those that depend on it.
    """
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
    """Return the recorded resources as creations.

    The type chain in the URNs of the SDK's mocks differs from the engine's, so the URNs are computed here.
    """
    chains: dict[str, str] = {}
    found = []
    for resource in recording.resources:
        above = chains.get(resource.parent, "")
        chain = f"{above}${resource.type}" if above else resource.type
        chains[resource.urn] = chain
        urn = f"urn:pulumi:{recording.stack}::{PROJECT}::{chain}::{resource.name}"
        found.append(ResourceChange(urn, resource.type, resource.name, "create"))
    return tuple(found)
