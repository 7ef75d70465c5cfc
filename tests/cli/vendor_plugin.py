"""A provider plug-in for tests: a program of its own that speaks the provider protocol and shows a small cloud.

`CLOUD` names a JSON file with what there is, by token and identifier. Like the vendors' own it takes credentials from
the environment, and refuses without them; every call is noted in the file `CALLS` names.
"""

from __future__ import annotations

import json
import os
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
from google.protobuf import empty_pb2
from google.protobuf.json_format import MessageToDict
from pulumi.runtime.proto import engine_pb2, engine_pb2_grpc, provider_pb2, provider_pb2_grpc


class Provider(provider_pb2_grpc.ResourceProviderServicer):
    def __init__(self, engine: str) -> None:
        self.engine = engine
        self.cloud = json.loads(Path(os.environ["CLOUD"]).read_text())

    def note(self, *words: str) -> None:
        with Path(os.environ["CALLS"]).open("a") as stream:
            stream.write(" ".join(words) + "\n")

    def Configure(self, request: Any, context: Any) -> Any:  # noqa: N802
        self.note("Configure", json.dumps(MessageToDict(request.args), sort_keys=True))
        if not os.environ.get("TENCENTCLOUD_SECRET_KEY"):
            context.abort(grpc.StatusCode.UNAUTHENTICATED, "no secret key")
        return provider_pb2.ConfigureResponse()

    def Read(self, request: Any, context: Any) -> Any:  # noqa: N802
        token = request.urn.split("::")[2]
        self.note("Read", token, request.id)
        with grpc.insecure_channel(self.engine) as channel:
            # The vendors' plug-ins tell the engine of what they do.
            log = engine_pb2.LogRequest(severity=engine_pb2.INFO, message=f"reading {request.id}")
            engine_pb2_grpc.EngineStub(channel).Log(log, timeout=5)
        found = self.cloud.get(token, {}).get(request.id)
        if found == "forbidden":
            context.abort(grpc.StatusCode.PERMISSION_DENIED, "AuthFailure.UnauthorizedOperation")
        answer = provider_pb2.ReadResponse()
        if found is not None:
            answer.id = request.id
            answer.properties.update(found)
        return answer

    def Invoke(self, request: Any, context: Any) -> Any:  # noqa: N802
        self.note("Invoke", request.tok, json.dumps(MessageToDict(request.args), sort_keys=True))
        found = self.cloud["answers"].get(request.tok)
        if found is None:
            context.abort(grpc.StatusCode.PERMISSION_DENIED, "AuthFailure.UnauthorizedOperation")
        answer = provider_pb2.InvokeResponse()
        getattr(answer, "return").update(found)
        return answer

    def Cancel(self, request: Any, context: Any) -> Any:  # noqa: N802
        return empty_pb2.Empty()


def main() -> None:
    server = grpc.server(ThreadPoolExecutor(max_workers=2))
    provider_pb2_grpc.add_ResourceProviderServicer_to_server(Provider(sys.argv[1]), server)
    print(server.add_insecure_port("127.0.0.1:0"), flush=True)
    server.start()
    time.sleep(120)


if __name__ == "__main__":
    main()
