"""A language plug-in for tests with plain `pulumi`: its program makes components, and needs no cluster.

`install` puts it where `PATH` leads; a project names it with `runtime: parts`. The program reads the stack's settings:
`parts`, how many components; `wait`, a file that is waited for before they are made.
"""

from __future__ import annotations

import asyncio
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

PROJECT = "name: wecity\nruntime: parts\n"


def install(directory: Path) -> Path:
    """Make the plug-in's program in a new directory, which is to be on PATH; the directory."""
    directory.mkdir(parents=True)
    program, root = directory / "pulumi-language-parts", Path(__file__).parents[2]
    program.write_text(f"#!/bin/sh\ncd {root} && exec {sys.executable} -m tests.support.language\n")
    program.chmod(0o755)
    return directory


def _wait(gate: Path) -> None:
    gate.with_name(f"{gate.name}.there").touch()
    until = time.monotonic() + 60
    while not gate.exists() and time.monotonic() < until:
        time.sleep(0.05)


async def _make() -> None:
    import pulumi

    class Part(pulumi.ComponentResource):
        def __init__(self, name: str) -> None:
            super().__init__("wecity:test:Part", name, {}, None)
            self.register_outputs({})

    config = pulumi.Config("wecity")
    Part("first")
    wait = config.get("wait")
    if wait and not pulumi.runtime.is_dry_run():
        await asyncio.to_thread(_wait, Path(wait))
    for number in range(config.get_int("parts") or 0):
        Part(f"part-{number}")
    pulumi.export("count", config.get_int("parts") or 0)
    pulumi.export("hidden", pulumi.Output.secret("geheim"))


def main() -> None:
    """Serve until the engine ends this process."""
    import grpc
    from google.protobuf import empty_pb2
    from pulumi.runtime import reset_options, run_in_stack, set_all_config
    from pulumi.runtime.proto import LanguageRuntimeServicer, language_pb2, language_pb2_grpc, plugin_pb2

    class Host(LanguageRuntimeServicer):
        def Handshake(self, request: Any, context: Any) -> Any:  # noqa: N802
            return language_pb2.LanguageHandshakeResponse()

        def GetRequiredPackages(self, request: Any, context: Any) -> Any:  # noqa: N802
            return language_pb2.GetRequiredPackagesResponse()

        def GetPluginInfo(self, request: Any, context: Any) -> Any:  # noqa: N802
            return plugin_pb2.PluginInfo()

        def Cancel(self, request: Any, context: Any) -> Any:  # noqa: N802
            return empty_pb2.Empty()

        def Run(self, request: Any, context: Any) -> Any:  # noqa: N802
            reset_options(
                project=request.project,
                monitor_address=request.monitor_address,
                engine_address=request.args[0] if request.args else "",
                stack=request.stack,
                parallel=request.parallel,
                preview=request.dryRun,
                organization=request.organization,
            )
            set_all_config(request.config, request.configSecretKeys or None)
            loop = asyncio.new_event_loop()
            loop.run_until_complete(run_in_stack(_make))
            return language_pb2.RunResponse()

    server = grpc.server(ThreadPoolExecutor(4))
    language_pb2_grpc.add_LanguageRuntimeServicer_to_server(Host(), server)
    print(server.add_insecure_port("127.0.0.1:0"), flush=True)
    server.start()
    server.wait_for_termination()


if __name__ == "__main__":
    main()
