"""Runs a stack's program under the SDK's mocks and keeps the resource graph: no engine, no cloud, no credentials.

`render`, the policies and the unit tests of the stacks read the graph. Secret values are replaced by a mark before
they are kept, and so are values that only a real run can know.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from importlib import import_module
from typing import Any

import pulumi
from pulumi.runtime import mocks, rpc
from pulumi.runtime.stack import run_pulumi_func
from pulumi.runtime.sync_await import _sync_await

from wecityctl.graph import SECRET, UNKNOWN, RecordedResource, Recording
from wecityctl.inputs import StackInputs
from wecityctl.model import naming
from wecityctl.model.outputs import outputs_from_json

PROGRAM = "wecityctl.stacks.program:run"


def record(inputs: StackInputs, program: str = PROGRAM) -> Recording:
    """Run `program` for one stack. Whatever the program raises is raised here."""
    with _own_loop():
        monitor = _Monitor(_Mocks())
        pulumi.runtime.set_mocks(
            monitor.mocks, project=naming.PROJECT, stack=inputs.stack.name, preview=False, monitor=monitor
        )
        answer: dict[str, Any] = {}

        async def run() -> None:
            answer.update(await _resolve(load_program(program)(inputs)))

        _sync_await(run_pulumi_func(run))
    return Recording(inputs.stack.name, tuple(monitor.recorded), outputs_from_json(inputs.stack.layer, answer))


@contextmanager
def _own_loop() -> Iterator[None]:
    """Event loops that are closed in the end: one left to the interpreter's last steps may complain on stderr.

    The SDK calls its mock monitor in the loop's threads and makes a loop in each of them, so there is one thread.
    """
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    with ThreadPoolExecutor(max_workers=1) as calls:
        theirs = calls.submit(_open_loop).result()
        loop.set_default_executor(calls)
        try:
            yield
        finally:
            asyncio.set_event_loop(None)
            calls.submit(theirs.close).result()
            loop.close()


def _open_loop() -> asyncio.AbstractEventLoop:
    """A new event loop, which is the calling thread's."""
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    return loop


def load_program(program: str) -> Callable[[StackInputs], Mapping[str, Any]]:
    """The function named `module:attribute`."""
    module, _, attribute = program.partition(":")
    loaded: Callable[[StackInputs], Mapping[str, Any]] = getattr(import_module(module), attribute)
    return loaded


async def _resolve(outputs: Mapping[str, Any]) -> dict[str, Any]:
    resolved = await pulumi.Output.all(**outputs).future(with_unknowns=True)
    return dict(resolved or {})


class _Mocks(mocks.Mocks):
    """Every object comes out as it went in."""

    def new_resource(self, args: mocks.MockResourceArgs) -> tuple[str | None, dict[str, Any]]:
        return f"{args.name}-id", args.inputs

    def call(self, args: mocks.MockCallArgs) -> tuple[dict[str, Any], list[tuple[str, str]]]:
        return {}, []


class _Monitor(mocks.MockMonitor):
    """The SDK's mock monitor, which also keeps what `MockResourceArgs` leaves out: parents and dependencies."""

    def __init__(self, own: _Mocks) -> None:
        super().__init__(own)
        self.recorded: list[RecordedResource] = []

    def RegisterResource(self, request: Any) -> Any:  # noqa: N802 - the name is the protocol's
        answer = super().RegisterResource(request)  # type: ignore[no-untyped-call]
        if request.type != "pulumi:pulumi:Stack":
            values = rpc.deserialize_properties(request.object, keep_unknowns=True)
            self.recorded.append(
                RecordedResource(
                    urn=answer.urn,
                    type=request.type,
                    name=request.name,
                    parent=request.parent,
                    depends_on=tuple(request.dependencies),
                    inputs=_plain(values),
                    is_custom=request.custom,
                    protect=request.protect,
                )
            )
        return answer


def _plain(value: Any) -> Any:
    if isinstance(value, pulumi.output.Unknown):
        return UNKNOWN
    if isinstance(value, dict):
        return SECRET if rpc.is_rpc_secret(value) else {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value
