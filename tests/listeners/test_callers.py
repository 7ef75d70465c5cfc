"""Our own gRPC servers refuse other users by themselves, without a guard before them."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf import empty_pb2
from pulumi.runtime.proto import language_pb2, language_pb2_grpc, provider_pb2, provider_pb2_grpc

from tests.attack.stranger import answers_of, kubeconfig
from tests.listeners.second_user import NEEDS_ROOT
from wecityctl.engine.workers.language_host import LanguageHost
from wecityctl.listeners.callers import is_own, is_served_by
from wecityctl.provider.server import ProviderServer
from wecityctl.provider.settings import digest


@pytest.fixture
def language() -> Iterator[LanguageHost]:
    program: Any = None
    host = LanguageHost(program, os.getpid())
    host.start()
    yield host
    host.stop()


@NEEDS_ROOT
async def test_the_provider_answers_its_own_user_only(tmp_path: Path) -> None:
    mark = tmp_path / "run-by-a-stranger"
    async with ProviderServer() as server:
        port = await server.open("s")
        answers = (await asyncio.to_thread(answers_of, [port], str(mark)))[port]
        del answers["hello"]
        assert set(answers.values()) <= {"PERMISSION_DENIED", "UNIMPLEMENTED"}, answers
        assert answers["Configure"] == answers["Create"] == "PERMISSION_DENIED"
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            await provider_pb2_grpc.ResourceProviderStub(channel).GetPluginInfo(empty_pb2.Empty())
    assert not mark.exists()


@pytest.mark.slow
async def test_no_call_of_our_own_is_refused_under_load() -> None:
    async with ProviderServer() as server:
        port = await server.open("s")

        async def ask(number: int) -> int:
            options = [("grpc.use_local_subchannel_pool", number % 2)]
            async with grpc.aio.insecure_channel(f"127.0.0.1:{port}", options=options) as channel:
                stub = provider_pb2_grpc.ResourceProviderStub(channel)
                return len([await stub.GetPluginInfo(empty_pb2.Empty()) for _ in range(20)])

        assert sum(await asyncio.gather(*map(ask, range(64)))) == 64 * 20


@NEEDS_ROOT
def test_the_language_host_answers_its_own_user_only(language: LanguageHost, tmp_path: Path) -> None:
    answers = answers_of([language.port], str(tmp_path / "none"))[language.port]
    assert answers["Run"] == "PERMISSION_DENIED"
    with grpc.insecure_channel(f"127.0.0.1:{language.port}") as channel:
        language_pb2_grpc.LanguageRuntimeStub(channel).About(empty_pb2.Empty())


def test_the_language_host_runs_for_its_own_engine_only(language: LanguageHost) -> None:
    with grpc.insecure_channel(f"127.0.0.1:{language.port}") as channel, socket.create_server(("127.0.0.1", 0)) as own:
        stub = language_pb2_grpc.LanguageRuntimeStub(channel)
        address = f"127.0.0.1:{own.getsockname()[1]}"
        assert is_served_by(address, os.getpid())
        for monitor, engine in ((address, "127.0.0.1:1"), ("127.0.0.1:1", address), ("example.org:443", address)):
            request = language_pb2.RunRequest(project="wecity", stack="s", monitor_address=monitor, args=[engine])
            with pytest.raises(grpc.RpcError) as refused:
                stub.Run(request, timeout=30)
            assert refused.value.code() is grpc.StatusCode.PERMISSION_DENIED
        assert not is_served_by(address, os.getppid())


async def test_a_run_takes_the_kubeconfigs_that_it_was_given_and_no_other(tmp_path: Path) -> None:
    mark = tmp_path / "run"
    given = kubeconfig(str(tmp_path / "other"))
    async with ProviderServer() as server:
        port = await server.open("s", kubeconfigs=frozenset({digest(given)}))
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            stub = provider_pb2_grpc.ResourceProviderStub(channel)
            for text, words in ((kubeconfig(str(mark)), "none of this run's"), (given, "credential plug-in")):
                request = provider_pb2.ConfigureRequest()
                request.args.update({"kubeconfig": text})
                await stub.Configure(request)
                token = "kubernetes:core/v1:ConfigMap"
                create = provider_pb2.CreateRequest(urn=f"urn:pulumi:s::p::{token}::n", type=token, name="n")
                create.properties.update(
                    {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "n", "namespace": "n"}}
                )
                with pytest.raises(grpc.aio.AioRpcError, match=words):
                    await stub.Create(create, timeout=60)
    assert not mark.exists()


@pytest.mark.parametrize("peer", ["unix:", "ipv4:nowhere:1", "ipv4:127.0.0.1:x", ""])
def test_a_peer_without_an_address_is_a_stranger(peer: str) -> None:
    assert not is_own(peer, 1)
