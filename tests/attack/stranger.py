"""Another user of the machine, who tries the gRPC calls of a run on a port. Run as a program, in a process of its own.

Takes `UID PORT…`; prints a JSON object of what each port answered: a refusal, or what it gave away.
"""

from __future__ import annotations

import json
import os
import pwd
import socket
import subprocess
import sys
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
from google.protobuf import empty_pb2, struct_pb2
from pulumi.runtime.proto import (
    engine_pb2,
    engine_pb2_grpc,
    language_pb2,
    language_pb2_grpc,
    provider_pb2,
    provider_pb2_grpc,
    resource_pb2,
    resource_pb2_grpc,
)

SECONDS = 5.0
_ROOT = Path(__file__).parents[2]
# HTTP/2: the preface of a client and an empty SETTINGS frame. Any HTTP/2 server answers with its own SETTINGS.
HELLO = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes.fromhex("000000040000000000")


def another_user() -> int:
    """The uid of a user who is not the one that runs the tests."""
    return pwd.getpwnam("nobody").pw_uid


def kubeconfig(mark: str) -> str:
    """One whose user is a program: whoever uses it runs `touch MARK`."""
    user = {
        "exec": {"apiVersion": "client.authentication.k8s.io/v1", "command": "touch", "args": [mark],
                 "interactiveMode": "Never"}
    }  # fmt: skip
    return json.dumps(
        {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "c",
            "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
            "clusters": [{"name": "c", "cluster": {"server": "http://127.0.0.1:1"}}],
            "users": [{"name": "u", "user": user}],
        }
    )


def attempts(channel: grpc.Channel, mark: str) -> dict[str, Callable[[], Any]]:
    """The calls, by name."""
    settings = struct_pb2.Struct()
    settings.update({"kubeconfig": kubeconfig(mark)})
    provider = provider_pb2_grpc.ResourceProviderStub(channel)
    language = language_pb2_grpc.LanguageRuntimeStub(channel)
    monitor = resource_pb2_grpc.ResourceMonitorStub(channel)
    engine = engine_pb2_grpc.EngineStub(channel)
    thing = resource_pb2.RegisterResourceRequest(type="stranger:index:Thing", name="stranger", custom=False)
    log = engine_pb2.LogRequest(severity=engine_pb2.WARNING, message="a stranger was here")
    run = language_pb2.RunRequest(project="wecity", stack="s", monitor_address="127.0.0.1:1", args=["127.0.0.1:1"])
    token = "kubernetes:core/v1:ConfigMap"
    urn = f"urn:pulumi:s::wecity::{token}::stranger"
    create = provider_pb2.CreateRequest(urn=urn, type=token, name="stranger", properties=struct_pb2.Struct())
    return {
        "GetPluginInfo": lambda: provider.GetPluginInfo(empty_pb2.Empty(), timeout=SECONDS),
        "Configure": lambda: provider.Configure(provider_pb2.ConfigureRequest(args=settings), timeout=SECONDS),
        "Create": lambda: provider.Create(create, timeout=SECONDS),
        "Run": lambda: language.Run(run, timeout=SECONDS),
        "RegisterResource": lambda: monitor.RegisterResource(thing, timeout=SECONDS),
        "SupportsFeature": lambda: monitor.SupportsFeature(
            resource_pb2.SupportsFeatureRequest(id="secrets"), timeout=SECONDS
        ),
        "Log": lambda: engine.Log(log, timeout=SECONDS),
    }


def hello(port: int) -> str:
    """What the server at a loopback port says to the first bytes of HTTP/2, in hex; empty when it says nothing."""
    with socket.socket() as connection:
        connection.settimeout(SECONDS)
        try:
            connection.connect(("127.0.0.1", port))
            connection.sendall(HELLO)
            return connection.recv(100).hex()
        except OSError:
            return ""


def try_port(port: int, mark: str) -> dict[str, str]:
    """What each call got: a status, or `ANSWERED`."""
    found = {"hello": hello(port) or "nothing"}
    for name in attempts(grpc.insecure_channel(f"127.0.0.1:{port}"), mark):
        # A channel that was refused waits before it tries again; one of its own for each call does not.
        with grpc.insecure_channel(f"127.0.0.1:{port}", options=[("grpc.use_local_subchannel_pool", 1)]) as channel:
            try:
                attempts(channel, mark)[name]()
                found[name] = "ANSWERED"
            except grpc.RpcError as error:
                found[name] = error.code().name
    return found


def answers_of(ports: Iterable[int], mark: str) -> dict[int, dict[str, str]]:
    """What another user got from each port."""
    command = [sys.executable, "-m", __name__, str(another_user()), mark, *map(str, ports)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, timeout=300, check=True, cwd=_ROOT)
    return {int(port): found for port, found in json.loads(done.stdout).items()}


def main(uid: int, mark: str, ports: list[int]) -> None:
    """Become the other user, try every port at once, say what came of it."""
    os.setgroups([])
    os.setgid(uid)
    os.setuid(uid)
    with ThreadPoolExecutor(max(1, len(ports))) as pool:
        print(json.dumps(dict(zip(ports, pool.map(lambda port: try_port(port, mark), ports), strict=True))))


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2], [int(word) for word in sys.argv[3:]])
