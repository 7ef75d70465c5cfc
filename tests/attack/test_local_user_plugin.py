"""Another user of the machine beside plain `pulumi`: the built-in plug-in, as an engine starts it."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
from google.protobuf import empty_pb2
from pulumi.runtime.proto import provider_pb2_grpc

from tests.attack.ports import listening
from tests.attack.stranger import answers_of
from tests.listeners.second_user import NEEDS_ROOT
from tests.support.vendor_plugin import launcher
from wecityctl.importing.plugin import started
from wecityctl.listeners.guard import lacking

GUARDED = pytest.mark.skipif(bool(lacking()), reason=f"no guard on this machine: {lacking()}")


@pytest.fixture
def plugin() -> Iterator[tuple[subprocess.Popen[str], int]]:
    command = [sys.executable, "-P", "-m", "wecityctl.provider", "-v=3", "127.0.0.1:9"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        yield process, int(process.stdout.readline())
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def is_open(port: int) -> bool:
    with grpc.insecure_channel(f"127.0.0.1:{port}", options=[("grpc.use_local_subchannel_pool", 1)]) as channel:
        try:
            provider_pb2_grpc.ResourceProviderStub(channel).GetPluginInfo(empty_pb2.Empty(), timeout=20)
        except grpc.RpcError:
            return False
    return True


@NEEDS_ROOT
@GUARDED
def test_nobody_else_is_answered(plugin: tuple[subprocess.Popen[str], int], tmp_path: Path) -> None:
    mark = tmp_path / "run-by-a-stranger"
    _, port = plugin
    assert is_open(port)
    found = answers_of([port], str(mark))[port]
    assert found.pop("hello") == "nothing"
    assert set(found.values()) <= {"UNAVAILABLE", "DEADLINE_EXCEEDED"}, found
    assert not mark.exists()
    assert is_open(port)


@NEEDS_ROOT
@GUARDED
@pytest.mark.slow
def test_while_a_vendors_cloud_is_read_nobody_else_is_answered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither by the plug-in, which has the vendor's credentials, nor by what it takes for its engine."""
    mark, program, log = tmp_path / "run-by-a-stranger", tmp_path / "pulumi-resource-vendor", tmp_path / "log"
    launcher(program)
    for name, value in {"VENDOR_LOG": str(log), "VENDOR_KUBECONFIG": "/dev/null"}.items():
        monkeypatch.setenv(name, value)
    # Servers that the worker's other tests share are its children too.
    before = listening([os.getpid(), *below(os.getpid())])
    with started(program, "vendor", {}):
        found = listening([os.getpid(), *below(os.getpid())])
        ports = {port: process for port, process in found.items() if port not in before}
        assert len(ports) == 2, ports
        for port, found in answers_of(list(ports), str(mark)).items():
            calls = {name: answer for name, answer in found.items() if name != "hello"}
            assert set(calls.values()) <= {"UNAVAILABLE", "DEADLINE_EXCEEDED", "PERMISSION_DENIED", "UNIMPLEMENTED"}
            # A plug-in is not ours to ask who calls it: there the guard ends the connection before it is read.
            assert ports[port] == os.getpid() or found["hello"] == "nothing", found
    assert not mark.exists()


def below(process: int) -> list[int]:
    """The processes below one, its children's children among them."""
    try:
        text = " ".join(path.read_text() for path in Path(f"/proc/{process}/task").glob("*/children"))
    except OSError:
        return []
    children = [int(word) for word in text.split()]
    return [*children, *(found for child in children for found in below(child))]


@pytest.mark.slow
def test_a_killed_plugin_leaves_nothing(plugin: tuple[subprocess.Popen[str], int]) -> None:
    process, port = plugin
    children = [int(word) for word in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()]
    assert set(listening([process.pid, *children])) == {port}
    process.kill()
    process.wait()
    deadline = time.monotonic() + 20
    while any(Path(f"/proc/{child}").exists() for child in children) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not is_open(port)


def test_a_plugin_ends_in_order(plugin: tuple[subprocess.Popen[str], int]) -> None:
    process, port = plugin
    process.terminate()
    assert process.wait(30) == 0
    assert not is_open(port)
