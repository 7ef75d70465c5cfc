"""A stand-in for the engine: speaks the provider protocol to one port, in plain Python values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

import grpc
from google.protobuf.empty_pb2 import Empty
from pulumi.runtime.proto import engine_pb2_grpc, plugin_pb2, provider_pb2, provider_pb2_grpc, status_pb2

from wecityctl.provider.kinds import name_of_urn, type_of_urn
from wecityctl.provider.properties import decode, encode

KIND_NAMES = {
    provider_pb2.PropertyDiff.ADD: "add",
    provider_pb2.PropertyDiff.ADD_REPLACE: "add-replace",
    provider_pb2.PropertyDiff.DELETE: "delete",
    provider_pb2.PropertyDiff.DELETE_REPLACE: "delete-replace",
    provider_pb2.PropertyDiff.UPDATE: "update",
    provider_pb2.PropertyDiff.UPDATE_REPLACE: "update-replace",
}


def urn(token: str, name: str, stack: str = "dev") -> str:
    """The URN of a resource."""
    return f"urn:pulumi:{stack}::proj::{token}::{name}"


@dataclass
class Messages(engine_pb2_grpc.EngineServicer):
    """The engine's Log service; keeps what it is told."""

    said: list[Any] = field(default_factory=list)

    async def Log(self, request: Any, context: Any) -> Empty:  # noqa: N802
        self.said.append(request)
        return Empty()

    def texts(self, *, ephemeral: bool) -> list[str]:
        """What was said, as status or for keeping."""
        return [m.message for m in self.said if m.ephemeral is ephemeral]


class Partial(Exception):  # noqa: N818
    """A partial failure, as the engine reads it from the status."""

    def __init__(self, detail: Any) -> None:
        super().__init__("; ".join(detail.reasons))
        self.id = detail.id
        self.reasons = list(detail.reasons)
        self.outputs = decode(detail.properties)
        self.inputs = decode(detail.inputs) if detail.HasField("inputs") else None


class Engine:
    """One provider of one stack."""

    def __init__(self, port: int, stack: str = "dev") -> None:
        self.port = port
        self.stack = stack
        self.messages = Messages()

    async def __aenter__(self) -> Self:
        self._log_server = grpc.aio.server()
        engine_pb2_grpc.add_EngineServicer_to_server(self.messages, self._log_server)
        log_port = self._log_server.add_insecure_port("127.0.0.1:0")
        await self._log_server.start()
        options = [("grpc.use_local_subchannel_pool", 1), ("grpc.max_receive_message_length", -1)]
        options.append(("grpc.absolute_max_metadata_size", 16 << 20))  # the engine (Go) takes 16 MiB, Python 16 KiB
        options.append(("grpc.max_metadata_size", 16 << 20))
        self._channel = grpc.aio.insecure_channel(f"127.0.0.1:{self.port}", options=options)
        self.stub: Any = provider_pb2_grpc.ResourceProviderStub(self._channel)
        await self.stub.Attach(plugin_pb2.PluginAttach(address=f"127.0.0.1:{log_port}"))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._channel.close()
        await self._log_server.stop(None)

    async def configure(self, kubeconfig: str, **settings: str) -> Any:
        """Configure, as the engine does it: inputs as a struct and as variables."""
        args = {"kubeconfig": kubeconfig, **settings}
        variables = {f"kubernetes:config:{k}": v for k, v in args.items()}
        request = provider_pb2.ConfigureRequest(args=encode(args), variables=variables, acceptSecrets=True)
        return await self.stub.Configure(request)

    def urn(self, obj: dict[str, Any], name: str) -> str:
        """The URN for an object under a logical name."""
        api_version = obj["apiVersion"]
        module = api_version if "/" in api_version else f"core/{api_version}"
        return urn(f"kubernetes:{module}:{obj['kind']}", name, self.stack)

    async def check(self, obj: dict[str, Any], name: str, olds: dict[str, Any] | None = None) -> dict[str, Any]:
        """The checked inputs; fails on check failures."""
        request = provider_pb2.CheckRequest(
            urn=self.urn(obj, name), news=encode(obj), olds=encode(olds or {}), randomSeed=b"seed"
        )
        response = await self.stub.Check(request)
        assert not response.failures, response.failures
        return decode(response.inputs)

    async def create(
        self, inputs: dict[str, Any], name: str, *, preview: bool = False, seconds: float = 0
    ) -> tuple[str, dict[str, Any]]:
        """The id and the outputs."""
        request = provider_pb2.CreateRequest(
            urn=self.urn(inputs, name), properties=encode(inputs), preview=preview, timeout=seconds
        )
        response = await self._call(self.stub.Create, request)
        return response.id, decode(response.properties)

    async def diff(
        self, old: dict[str, Any], state: dict[str, Any], new: dict[str, Any], name: str
    ) -> tuple[dict[str, str], Any]:
        """The detailed diff, and the whole answer."""
        request = provider_pb2.DiffRequest(
            id="x", urn=self.urn(new, name), old_inputs=encode(old), olds=encode(state), news=encode(new)
        )
        response = await self.stub.Diff(request)
        return {path: KIND_NAMES[entry.kind] for path, entry in response.detailedDiff.items()}, response

    async def update(
        self,
        inputs: dict[str, Any],
        state: dict[str, Any],
        name: str,
        *,
        preview: bool = False,
        seconds: float = 0,
        ignored: Sequence[str] = (),
    ) -> dict[str, Any]:
        """The outputs."""
        request = provider_pb2.UpdateRequest(
            urn=self.urn(inputs, name),
            olds=encode(state),
            news=encode(inputs),
            preview=preview,
            timeout=seconds,
            ignoreChanges=ignored,
        )
        return decode((await self._call(self.stub.Update, request)).properties)

    async def read(
        self, obj: dict[str, Any], name: str, identifier: str, state: dict[str, Any], inputs: dict[str, Any]
    ) -> tuple[str, dict[str, Any], dict[str, Any]]:
        """Id (empty: gone), outputs and inputs."""
        request = provider_pb2.ReadRequest(
            id=identifier, urn=self.urn(obj, name), properties=encode(state), inputs=encode(inputs)
        )
        response = await self._call(self.stub.Read, request)
        return response.id, decode(response.properties), decode(response.inputs)

    async def delete(self, identifier: str, state: dict[str, Any], name: str, *, seconds: float = 0) -> None:
        """Delete and wait."""
        request = provider_pb2.DeleteRequest(
            id=identifier,
            urn=self.urn(state, name),
            properties=encode(state),
            old_inputs=encode(state.get("__inputs", {})),
            timeout=seconds,
        )
        await self._call(self.stub.Delete, request)

    async def make(
        self, obj: dict[str, Any], name: str, *, seconds: float = 0
    ) -> tuple[dict[str, Any], str, dict[str, Any]]:
        """Check and create: inputs, id, outputs."""
        inputs = await self.check(obj, name)
        identifier, outputs = await self.create(inputs, name, seconds=seconds)
        return inputs, identifier, outputs

    async def cancel(self) -> None:
        """What the engine does on Ctrl-C."""
        await self.stub.Cancel(Empty())

    async def _call(self, method: Any, request: Any) -> Any:
        assert request.urn == urn(type_of_urn(request.urn), name_of_urn(request.urn), self.stack)
        try:
            return await method(request)
        except grpc.aio.AioRpcError as error:
            for key, value in error.trailing_metadata() or ():
                if key == "grpc-status-details-bin":
                    status = status_pb2.Status.FromString(value)
                    assert status.code == error.code().value[0]
                    detail = provider_pb2.ErrorResourceInitFailed()
                    if status.details[0].Unpack(detail):
                        raise Partial(detail) from error
            raise
