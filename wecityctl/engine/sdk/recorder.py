"""Runs a stack's program under the SDK's mocks and records the resource graph, without engine, cloud or credentials.

The graph is used by `render`, the policy rules and the unit tests of the stacks. Secrets, and values that only a real
run can know, are replaced by marks.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from importlib import import_module
from typing import Any

import pulumi
from pulumi.runtime import mocks, rpc
from pulumi.runtime.proto import resource_pb2
from pulumi.runtime.stack import run_pulumi_func
from pulumi.runtime.sync_await import _sync_await

from wecityctl.engine.sdk.patches import lighten
from wecityctl.event_loops import outside_loop
from wecityctl.inputs import StackInputs
from wecityctl.model import naming
from wecityctl.model.outputs import outputs_from_json
from wecityctl.resource_graph import SECRET, UNKNOWN, RecordedResource, Recording

PROGRAM = "stacks.program:run"
SDK_LOCK = threading.RLock()


class Answers(mocks.Mocks):
    """The answers of a simulated cloud: by default every object equals its inputs."""

    def outputs(self, token: str) -> Mapping[str, Any]:
        """Return additional outputs for objects of the type `token`, as plain JSON."""
        return {}

    def new_resource(self, args: mocks.MockResourceArgs) -> tuple[str | None, dict[str, Any]]:
        """Return the id and the outputs of an object."""
        return args.resource_id or f"{args.name}-id", {**args.inputs, **self.outputs(args.typ)}

    def call(self, args: mocks.MockCallArgs) -> tuple[dict[str, Any], list[tuple[str, str]]]:
        """Return the result of a data function."""
        return {}, []


def record(inputs: StackInputs, program: str = PROGRAM, answers: Answers | None = None) -> Recording:
    """Run `program` for one stack against a cloud that `answers`. Exceptions of the program are passed on.

    The SDK keeps a run in process globals, so a lock lets only one thread record at a time.
    """
    return outside_loop(lambda: _record(inputs, program, answers or Answers()))


def _record(inputs: StackInputs, program: str, answers: Answers) -> Recording:
    with SDK_LOCK, _own_loop():
        lighten()
        monitor = _Monitor(answers)
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
    """Provide an event loop and close it afterwards; a loop that is open at exit may print warnings on stderr."""
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    loop.set_default_executor(_AtOnce())
    try:
        yield
    finally:
        asyncio.set_event_loop(None)
        loop.close()


class _AtOnce(ThreadPoolExecutor):
    """Runs submitted functions in the calling thread: the mock monitor answers from memory, so
    threads only add cost.
    """

    def submit(self, call: Callable[..., Any], /, *args: Any, **named: Any) -> Future[Any]:
        future: Future[Any] = Future()
        try:
            future.set_result(call(*args, **named))
        except Exception as error:
            future.set_exception(error)
        return future


def load_program(program: str) -> Callable[[StackInputs], Mapping[str, Any]]:
    """Return the function named `module:attribute`."""
    module, _, attribute = program.partition(":")
    loaded: Callable[[StackInputs], Mapping[str, Any]] = getattr(import_module(module), attribute)
    return loaded


async def _resolve(outputs: Mapping[str, Any]) -> dict[str, Any]:
    resolved = await pulumi.Output.all(**outputs).future(with_unknowns=True)
    return dict(resolved or {})


class _Monitor(mocks.MockMonitor):
    """The SDK's mock monitor, extended to record registrations."""

    def __init__(self, answers: Answers) -> None:
        super().__init__(answers)
        self._answers = answers
        self.recorded: list[RecordedResource] = []

    def RegisterResource(self, request: Any) -> Any:  # noqa: N802 - the name is the protocol's
        urn = self.make_urn(request.parent, request.type, request.name)
        if request.type == "pulumi:pulumi:Stack":
            return resource_pb2.RegisterResourceResponse(urn=urn)
        self.recorded.append(
            RecordedResource(
                urn=urn,
                type=request.type,
                name=request.name,
                parent=request.parent,
                depends_on=tuple(sorted(request.dependencies)),
                inputs=_plain(request.object),
                is_custom=request.custom,
                protect=request.protect,
            )
        )
        answer = resource_pb2.RegisterResourceResponse(urn=urn, id=f"{request.name}-id", object=request.object)
        answer.object.update(self._answers.outputs(request.type))
        return answer


def _plain(properties: Any) -> dict[str, Any]:
    """Return a resource's properties as JSON. A property that contains a secret becomes the mark as a whole, as in the
    SDK.

    The SDK's own conversion takes four times as long.
    """
    # The order of a protobuf map differs between processes and is not the program's order.
    found = {key: _plain_value(value) for key, value in sorted(properties.fields.items())}
    return {key: value for key, value in found.items() if value is not None}


def _plain_value(value: Any) -> Any:
    match value.WhichOneof("kind"):
        case "string_value":
            text = value.string_value
            return UNKNOWN if text == rpc.UNKNOWN else text
        case "number_value":
            number = value.number_value
            return int(number) if number.is_integer() else number
        case "bool_value":
            return value.bool_value
        case "list_value":
            items = [_plain_value(item) for item in value.list_value.values]
            return SECRET if _has_secret(items) else items
        case "struct_value":
            return _plain_struct(value.struct_value)
    return None


def _plain_struct(struct: Any) -> Any:
    kind = struct.fields.get(rpc._special_sig_key)
    if kind is None:
        items = _plain(struct)
        return SECRET if _has_secret(items.values()) else items
    if kind.string_value == rpc._special_secret_sig:
        return SECRET
    return rpc.deserialize_properties(struct, keep_unknowns=True)


def _has_secret(items: Iterable[Any]) -> bool:
    """Whether the mark itself, compared by identity, is among the items: a user's text may equal it."""
    return any(item is SECRET for item in items)
