"""Records what the engine journals: `python -m tests.journal.record` writes `recorded.json.gz` beside this file again.

Runs plain Pulumi programs on the state service, with a provider of toys whose operations can be made to fail. For each
update it keeps the state that it began with, its entries, and the state that Pulumi's own file back end has after the
same update.
"""

from __future__ import annotations

import gzip
import json
import os
import re
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import grpc
import pulumi
from google.protobuf import empty_pb2, struct_pb2
from pulumi import ResourceOptions, automation
from pulumi.runtime.proto import plugin_pb2, provider_pb2, provider_pb2_grpc

from tests.engine.state_service.test_service import Served
from wecityctl.engine.secrets import crypto
from wecityctl.engine.secrets.sealing import Seal
from wecityctl.engine.state.store_file import FileStore
from wecityctl.engine.state_service.updates import OpenStack, Running
from wecityctl.engine.workers.engine import cli_path
from wecityctl.model.naming import PROJECT

RECORDED = Path(__file__).with_name("recorded.json.gz")
STACK = "toys.base.main"
Program = Callable[[], None]
# What a run writes that is another each time.
# Where the programs' libraries lie on the machine that records.
_PATH = re.compile(r"/[^\" ]*/(?:site-packages|python3\.\d+)/")
_CIPHERTEXT = re.compile(r"v1:[A-Za-z0-9+/=]{16}:[A-Za-z0-9+/=]+")


class Toys(provider_pb2_grpc.ResourceProviderServicer):
    """Things with a value that can be changed, and a key that cannot. `failing` has operations and names."""

    def __init__(self) -> None:
        self.live: dict[str, dict[str, Any]] = {}
        self.failing: set[tuple[str, str]] = set()
        self.count = 0

    def _fail(self, operation: str, properties: Any, context: Any) -> None:
        name = dict(properties).get("name", "")
        if (operation, name) in self.failing:
            context.abort(grpc.StatusCode.UNKNOWN, f"no {operation} of {name}")

    def Handshake(self, request: Any, context: Any) -> Any:  # noqa: N802
        return provider_pb2.ProviderHandshakeResponse(accept_secrets=True, accept_resources=True, accept_outputs=True)

    def Attach(self, request: Any, context: Any) -> Any:  # noqa: N802
        return empty_pb2.Empty()

    def Cancel(self, request: Any, context: Any) -> Any:  # noqa: N802
        return empty_pb2.Empty()

    def GetPluginInfo(self, request: Any, context: Any) -> Any:  # noqa: N802
        return plugin_pb2.PluginInfo(version="0.0.1")

    def CheckConfig(self, request: Any, context: Any) -> Any:  # noqa: N802
        return provider_pb2.CheckResponse(inputs=request.news)

    def DiffConfig(self, request: Any, context: Any) -> Any:  # noqa: N802
        return provider_pb2.DiffResponse(changes=provider_pb2.DiffResponse.DIFF_NONE)

    def Configure(self, request: Any, context: Any) -> Any:  # noqa: N802
        return provider_pb2.ConfigureResponse(acceptSecrets=True, supportsPreview=True, acceptResources=True)

    def Check(self, request: Any, context: Any) -> Any:  # noqa: N802
        return provider_pb2.CheckResponse(inputs=request.news)

    def Diff(self, request: Any, context: Any) -> Any:  # noqa: N802
        old, new = dict(request.old_inputs), dict(request.news)
        changed = sorted(name for name in old.keys() | new.keys() if old.get(name) != new.get(name))
        kind = provider_pb2.DiffResponse.DIFF_SOME if changed else provider_pb2.DiffResponse.DIFF_NONE
        return provider_pb2.DiffResponse(changes=kind, diffs=changed, replaces=[n for n in changed if n == "key"])

    def Create(self, request: Any, context: Any) -> Any:  # noqa: N802
        self._fail("create", request.properties, context)
        if request.preview:
            return provider_pb2.CreateResponse(properties=request.properties)
        self.count += 1
        identifier = f"toy-{dict(request.properties).get('name')}-{dict(request.properties).get('key', '')}"
        self.live[identifier] = request.properties
        return provider_pb2.CreateResponse(id=identifier, properties=request.properties)

    def Update(self, request: Any, context: Any) -> Any:  # noqa: N802
        self._fail("update", request.news, context)
        self.live[request.id] = request.news
        return provider_pb2.UpdateResponse(properties=request.news)

    def Delete(self, request: Any, context: Any) -> Any:  # noqa: N802
        self._fail("delete", request.properties, context)
        self.live.pop(request.id, None)
        return empty_pb2.Empty()

    def Read(self, request: Any, context: Any) -> Any:  # noqa: N802
        found = self.live.get(request.id)
        if found is None:
            return provider_pb2.ReadResponse()
        return provider_pb2.ReadResponse(id=request.id, properties=found, inputs=found)


class Toy(pulumi.CustomResource):
    """One of them."""

    def __init__(self, name: str, opts: ResourceOptions | None = None, **inputs: Any) -> None:
        super().__init__("toy:index:Toy", name, {"name": name, **inputs}, opts)


class Box(pulumi.ComponentResource):
    """A component that holds some."""

    def __init__(self, name: str, opts: ResourceOptions | None = None) -> None:
        super().__init__("toy:index:Box", name, {}, opts)
        self.register_outputs({"label": name})


def programs() -> Iterator[tuple[str, str, Program, set[tuple[str, str]], Callable[[Toys], None]]]:
    """The updates in their order: title, operation, program, what fails, and what happens to the toys before."""

    def nothing(toys: Toys) -> None:
        return

    def three(**inputs: Any) -> Program:
        def program() -> None:
            box = Box("box")
            first = Toy("first", ResourceOptions(parent=box), value="1", **inputs)
            second = Toy("second", ResourceOptions(depends_on=[first]), value=first.id)
            Toy("third", ResourceOptions(delete_before_replace=True), value=pulumi.Output.secret("hidden"), **inputs)
            pulumi.export("second", second.id)
            pulumi.export("secret", pulumi.Output.secret("geheim"))

        return program

    def only(*toys: tuple[str, dict[str, Any], ResourceOptions | None]) -> Program:
        def program() -> None:
            for name, inputs, opts in toys:
                Toy(name, opts, **inputs)

        return program

    def lose(*names: str) -> Callable[[Toys], None]:
        def happen(toys: Toys) -> None:
            for identifier in [item for item in toys.live if item.split("-")[1] in names]:
                del toys.live[identifier]

        return happen

    def drift(toys: Toys) -> None:
        for found in toys.live.values():
            found["value"] = "changed by hand"

    def found(toys: Toys) -> None:
        made = struct_pb2.Struct()
        made.update({"name": "old", "value": "0"})
        toys.live["toy-old-"] = made

    many = [(f"toy{number:02}", {"value": str(number)}, None) for number in range(24)]
    yield "create", "up", three(), set(), nothing
    yield "nothing to do", "up", three(), set(), nothing
    yield "update", "up", three(colour="red"), set(), nothing
    yield "replace in both orders", "up", three(colour="red", key="2"), set(), nothing
    yield "replace, the new one fails", "up", three(colour="red", key="3"), {("create", "first")}, nothing
    yield "replace, the old one stays", "up", three(colour="red", key="4"), {("delete", "first")}, nothing
    yield "the old one goes later", "up", three(colour="red", key="4"), set(), nothing
    yield "update fails", "up", three(colour="blue", key="4"), {("update", "third")}, nothing
    yield "refresh of what was changed", "refresh", three(), set(), drift
    yield "refresh of what is gone", "refresh", three(), set(), lose("second", "third")
    yield "made again", "up", three(colour="blue", key="4"), set(), nothing
    protected = (("kept", {"value": "1"}, ResourceOptions(protect=True)),)
    yield "delete and protect", "up", only(*protected), set(), nothing
    yield "delete of what is protected", "up", only(), set(), nothing
    yield "alias", "up", only(("renamed", {"value": "1", "name": "kept"}, _alias("kept"))), set(), nothing
    yield "retain", "up", only(("renamed", {"value": "2"}, ResourceOptions(retain_on_delete=True))), set(), nothing
    imported = ("old", {"value": "0"}, ResourceOptions(import_="toy-old-"))
    yield "import", "up", only(imported), set(), found
    yield "import of what is not there", "up", only(imported, ("new", {}, _import("toy-new-"))), set(), nothing
    yield "many at once", "up", only(*many), set(), nothing
    yield "many, some fail", "up", only(*((n, {"value": "x"}, o) for n, _, o in many)), _some("update", many), nothing
    yield "many go, some stay", "up", only(), _some("delete", many), nothing
    yield "destroy, one fails", "destroy", only(), {("delete", "toy00")}, nothing
    yield "destroy", "destroy", only(), set(), nothing


def _alias(name: str) -> ResourceOptions:
    return ResourceOptions(aliases=[pulumi.Alias(name=name)])


def _import(identifier: str) -> ResourceOptions:
    return ResourceOptions(import_=identifier)


def _some(operation: str, toys: list[Any]) -> set[tuple[str, str]]:
    return {(operation, name) for name, _, _ in toys[::5]}


@contextmanager
def provider() -> Iterator[tuple[Toys, str]]:
    """The toys' provider on a port, and what the engine is told of it."""
    toys = Toys()
    server = grpc.server(ThreadPoolExecutor(16))
    provider_pb2_grpc.add_ResourceProviderServicer_to_server(toys, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield toys, f"toy:{port}"
    finally:
        server.stop(0)


def run(operation: str, program: Program, place: Path, environment: dict[str, str]) -> None:
    """One update; one that fails is as good as another."""
    options = automation.LocalWorkspaceOptions(
        work_dir=str(place),
        pulumi_home=str(place / "home"),
        env_vars={**environment, "PULUMI_SKIP_UPDATE_CHECK": "true"},
        project_settings=automation.ProjectSettings(PROJECT, "python"),
        stack_settings={STACK: automation.StackSettings(encryption_salt=environment.get("SALT"))},
    )
    stack = automation.create_or_select_stack(STACK, project_name=PROJECT, program=program, opts=options)
    with suppress(automation.CommandError):
        if operation == "refresh":
            stack.refresh()
        elif operation == "destroy":
            stack.destroy(continue_on_error=True)
        else:
            stack.up(continue_on_error=True)


def record(root: Path) -> list[dict[str, Any]]:
    """Every update on the state service, and its state; each beside the same on Pulumi's own file back end."""
    os.environ["PATH"] = f"{cli_path().parent}{os.pathsep}{os.environ['PATH']}"
    found: list[dict[str, Any]] = []
    places = {name: root / name for name in ("plain", "ours")}
    for place in places.values():
        place.mkdir()
    plain, ours = FileStore(root / "plain-state"), FileStore(root / "our-state")
    plain.prepare()
    ours.create(STACK)
    entries: list[Any] = []
    append = Running.append

    def listen(self: Running, batch: Any) -> None:
        entries.extend(batch)
        append(self, batch)

    salt, crypter = crypto.new_salt("toys")
    served = Served()
    with provider() as (toys, attached), provider() as (other, other_attached):
        Running.append = listen  # type: ignore[method-assign]
        try:
            for title, operation, program, failing, before in programs():
                entries.clear()
                for each in (toys, other):
                    each.failing = failing
                    before(each)
                base = ours.read(STACK)[0]
                token = served.wait(_open(served, OpenStack(ours, STACK, seal=Seal(salt, crypter))))
                environment = {"PULUMI_BACKEND_URL": served.service.url, "PULUMI_ACCESS_TOKEN": token}
                environment |= {"PULUMI_DEBUG_PROVIDERS": attached, "PULUMI_JOURNALING_BATCH_PERIOD": "5"}
                run(operation, program, places["ours"], environment)
                problem = served.close(STACK)
                environment = {
                    "PULUMI_BACKEND_URL": plain.public_url,
                    "PULUMI_DEBUG_PROVIDERS": other_attached,
                    "SALT": salt,
                    "PULUMI_CONFIG_PASSPHRASE": "toys",
                }
                run(operation, program, places["plain"], environment)
                item = {"title": title, "base": base, "entries": list(entries), "problem": problem}
                found.append({**item, "ours": ours.read(STACK)[0], "plain": plain.read(STACK)[0]})
        finally:
            Running.append = append  # type: ignore[method-assign]
            served.end()
    return found


async def _open(served: Served, item: OpenStack) -> str:
    return served.service.open(item)


def comparable(deployment: dict[str, Any] | None) -> Any:
    """A state without what is another in each run: times, ciphertexts, and the order of what was done side by side."""
    text = _CIPHERTEXT.sub("v1:", json.dumps(deployment or {}, sort_keys=True))
    found = json.loads(text)
    for name in ("manifest", "secrets_providers", "metadata"):
        found.pop(name, None)
    for item in found.get("resources") or ():
        for name in ("created", "modified"):
            item.pop(name, None)
        if item["type"].startswith("pulumi:providers:"):
            item["id"] = "provider"
        if item.get("provider"):
            item["provider"] = item["provider"].rpartition("::")[0]
    found["resources"] = sorted(found.get("resources") or (), key=lambda item: json.dumps(item, sort_keys=True))
    return found


def main() -> None:
    """Write the recording again."""
    with tempfile.TemporaryDirectory() as directory:
        items = record(Path(directory))
    for item in items:
        same = comparable(item["ours"]) == comparable(item.pop("plain"))
        print(f"{item['title']}: {len(item['entries'])} entries, {'same' if same else 'OTHER'} state {item['problem']}")
        del item["ours"], item["problem"]
    text = json.dumps(items, separators=(",", ":")).replace(str(Path(__file__).parents[2]), "/project")
    RECORDED.write_bytes(gzip.compress(_PATH.sub("/python/", text).encode(), mtime=0))


if __name__ == "__main__":
    main()
