"""Runs a vendor's plug-in to read existing resources, with `Configure`, `Read` and `Invoke` only. Changes nothing.

The plug-in finds its credentials in this process's environment, as it would under the engine.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
from google.protobuf import empty_pb2, struct_pb2
from google.protobuf.json_format import MessageToDict
from pulumi.runtime.proto import engine_pb2_grpc, provider_pb2, provider_pb2_grpc

from wecityctl.errors import DeploymentError
from wecityctl.listeners import guarded
from wecityctl.listeners.callers import OwnCallers
from wecityctl.model.naming import PROJECT
from wecityctl.toolchain.plugin import first_line

START_SECONDS = 30.0
CALL_SECONDS = 120.0


class Plugin:
    """A plug-in that is configured for one region."""

    def __init__(self, stub: Any, package: str) -> None:
        self._stub = stub
        self._package = package

    def configure(self, settings: Mapping[str, str]) -> None:
        """Send the provider's settings; credentials come from the environment."""
        arguments = struct_pb2.Struct()
        arguments.update(settings)
        variables = {f"{self._package}:config:{name}": value for name, value in settings.items()}
        request = provider_pb2.ConfigureRequest(
            variables=variables, args=arguments, acceptSecrets=False, acceptResources=False
        )
        self._call("take its settings", lambda: self._stub.Configure(request, timeout=CALL_SECONDS))

    def read(self, token: str, identifier: str) -> dict[str, Any] | None:
        """The properties of an existing resource; `None` if it does not exist."""
        urn = f"urn:pulumi:import::{PROJECT}::{token}::existing"
        request = provider_pb2.ReadRequest(id=identifier, urn=urn, type=token, name="existing")
        answer = self._call(f"read {identifier}", lambda: self._stub.Read(request, timeout=CALL_SECONDS))
        return MessageToDict(answer.properties) if answer.id else None

    def invoke(self, token: str, arguments: Mapping[str, str]) -> dict[str, Any]:
        """The result of a data function. Raises `DeploymentError` with the vendor's message if it fails."""
        given = struct_pb2.Struct()
        given.update(arguments)
        request = provider_pb2.InvokeRequest(tok=token, args=given)
        answer = self._call(f"answer {token}", lambda: self._stub.Invoke(request, timeout=CALL_SECONDS))
        if answer.failures:
            details = "; ".join(item.reason for item in answer.failures)
            raise DeploymentError(f"the plug-in of {self._package} could not answer {token}", details=details)
        return MessageToDict(getattr(answer, "return"))

    def _call(self, what: str, call: Any) -> Any:
        try:
            return call()
        except grpc.RpcError as error:
            message = f"the plug-in of {self._package} could not {what}"
            raise DeploymentError(message, details=str(error.details() or error.code())) from error


class _Engine(engine_pb2_grpc.EngineServicer):
    """The engine's service that a plug-in calls while it works; all calls are ignored."""

    def Log(self, request: Any, context: Any) -> empty_pb2.Empty:  # noqa: N802 - the name is the protocol's
        return empty_pb2.Empty()


@contextmanager
def started(program: Path, package: str, settings: Mapping[str, str]) -> Iterator[Plugin]:
    """Start the plug-in and configure it; it is stopped at the end of the block."""
    with _engine() as address:
        process = subprocess.Popen(
            guarded([str(program), address]),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        try:
            port = first_line(process, START_SECONDS)
            if not port.isdigit():
                raise DeploymentError(f"the plug-in of {package} did not start", details=str(program))
            with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
                plugin = Plugin(provider_pb2_grpc.ResourceProviderStub(channel), package)
                plugin.configure(settings)
                yield plugin
        finally:
            process.kill()
            process.wait()
            if process.stdout is not None:
                process.stdout.close()


@contextmanager
def _engine() -> Iterator[str]:
    callers = OwnCallers()
    server = grpc.server(ThreadPoolExecutor(max_workers=2), interceptors=[callers])
    engine_pb2_grpc.add_EngineServicer_to_server(_Engine(), server)
    callers.port = port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        server.stop(None).wait()
