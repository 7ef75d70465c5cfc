"""A stand-in for a vendor's plug-in, since no vendor can be reached: it takes what it is given for made.

Speaks the provider protocol to the real engine. Every creation, update and deletion is a line of the file
`$VENDOR_LOG`; the credentials of any cluster are those of `$VENDOR_KUBECONFIG`.
"""

from __future__ import annotations

import os
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import yaml
from google.protobuf import empty_pb2, struct_pb2
from google.protobuf.json_format import MessageToDict
from pulumi.runtime.proto import plugin_pb2, provider_pb2, provider_pb2_grpc

BALANCER_ADDRESS = "198.51.100.80"


def launcher(path: Path) -> None:
    """Write a program at `path` that starts the stand-in."""
    path.parent.mkdir(parents=True, exist_ok=True)
    paths = os.pathsep.join(item for item in sys.path if item)
    path.write_text(
        f"#!/bin/sh\nPYTHONPATH='{paths}' exec '{sys.executable}' -P -m tests.support.vendor_plugin \"$@\"\n"
    )
    path.chmod(0o700)


def _plain(message: Any) -> dict[str, Any]:
    return MessageToDict(message) if message is not None else {}


def _struct(values: dict[str, Any]) -> Any:
    message = struct_pb2.Struct()
    message.update(values)
    return message


def _access() -> tuple[dict[str, Any], dict[str, Any]]:
    """The cluster and the user of the kubeconfig that stands for every cluster's."""
    config = yaml.safe_load(Path(os.environ["VENDOR_KUBECONFIG"]).read_text())
    return config["clusters"][0]["cluster"], config["users"][0]["user"]


def _made(request: Any) -> dict[str, Any]:
    """The outputs of a creation: its inputs, and of a cluster also where it answers."""
    outputs = _plain(request.properties)
    if "cs/managedKubernetes:" in request.urn:
        server = _access()[0]["server"]
        outputs["connections"] = [{"apiServerInternet": server, "apiServerIntranet": server}]
    if "slb/applicationLoadBalancer:" in request.urn:
        outputs["address"] = BALANCER_ADDRESS
    return outputs


def _note(what: str, urn: str) -> None:
    with Path(os.environ["VENDOR_LOG"]).open("a") as log:
        log.write(
            f"{what} {urn.rpartition('::')[0].rpartition('$')[2].rpartition('::')[2]} {urn.rpartition('::')[2]}\n"
        )


class StandIn(provider_pb2_grpc.ResourceProviderServicer):
    """What is asked for exists, with its inputs as outputs."""

    def CheckConfig(self, request: Any, context: Any) -> Any:  # noqa: N802
        return provider_pb2.CheckResponse(inputs=request.news)

    def DiffConfig(self, request: Any, context: Any) -> Any:  # noqa: N802
        return provider_pb2.DiffResponse(changes=provider_pb2.DiffResponse.DIFF_NONE)

    def Configure(self, request: Any, context: Any) -> Any:  # noqa: N802
        return provider_pb2.ConfigureResponse(acceptSecrets=False, supportsPreview=True)

    def GetPluginInfo(self, request: Any, context: Any) -> Any:  # noqa: N802
        return plugin_pb2.PluginInfo(version="4.0.0")

    def Check(self, request: Any, context: Any) -> Any:  # noqa: N802
        return provider_pb2.CheckResponse(inputs=request.news)

    def Diff(self, request: Any, context: Any) -> Any:  # noqa: N802
        old, new = _plain(request.old_inputs), _plain(request.news)
        changed = [key for key in sorted({*old, *new}) if old.get(key) != new.get(key)]
        kind = provider_pb2.DiffResponse.DIFF_SOME if changed else provider_pb2.DiffResponse.DIFF_NONE
        return provider_pb2.DiffResponse(changes=kind, diffs=changed)

    def Create(self, request: Any, context: Any) -> Any:  # noqa: N802
        if request.preview:
            return provider_pb2.CreateResponse(id="", properties=request.properties)
        _note("create", request.urn)
        identity = f"id-{request.urn.rpartition('::')[2]}"
        return provider_pb2.CreateResponse(id=identity, properties=_struct(_made(request)))

    def Update(self, request: Any, context: Any) -> Any:  # noqa: N802
        if not request.preview:
            _note("update", request.urn)
        return provider_pb2.UpdateResponse(properties=request.news)

    def Read(self, request: Any, context: Any) -> Any:  # noqa: N802
        return provider_pb2.ReadResponse(id=request.id, properties=request.properties, inputs=request.inputs)

    def Delete(self, request: Any, context: Any) -> Any:  # noqa: N802
        if _plain(request.properties).get("deletionProtection") is True:
            context.abort(grpc.StatusCode.FAILED_PRECONDITION, "deletion protection is enabled")
        _note("delete", request.urn)
        return empty_pb2.Empty()

    def Invoke(self, request: Any, context: Any) -> Any:  # noqa: N802
        cluster, user = _access()
        authority = {
            "clusterCert": cluster["certificate-authority-data"],
            "clientCert": user["client-certificate-data"],
            "clientKey": user["client-key-data"],
        }
        found = {**_plain(request.args), "id": "credential", "certificateAuthorities": [authority]}
        return provider_pb2.InvokeResponse(**{"return": _struct(found)})

    def Cancel(self, request: Any, context: Any) -> Any:  # noqa: N802
        return empty_pb2.Empty()


def main() -> None:
    """Serve on a free port, and tell it on standard output as the engine expects."""
    server = grpc.server(ThreadPoolExecutor(8))
    provider_pb2_grpc.add_ResourceProviderServicer_to_server(StandIn(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    sys.stdout.write(f"{port}\n")
    sys.stdout.flush()
    server.wait_for_termination()


if __name__ == "__main__":
    main()
