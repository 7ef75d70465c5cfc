"""Handing over between the official plug-in and the built-in provider, from a state that the official one wrote.

`official/program.py` has 45 objects with spellings that normalise. Plug-in 4.28.0 wrote `program-official-4.28.0.json`
for it (engine 3.259.0, Kubernetes 1.36.3, SDK 4.34.2). What later plug-ins changed could not be confirmed.
"""

from __future__ import annotations

import asyncio
import json
import runpy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from pulumi.automation import Deployment

from tests.provider.engine_support import ServerThread, Stack, environment, make_stack
from tests.provider.go_types import ZEROS, api_version, sources, table
from tests.support.control_plane import ControlPlane
from wecityctl.kube.client import KubeClient
from wecityctl.kube.config import load_access
from wecityctl.kube.openapi import Schema
from wecityctl.kube.transport import HttpPool
from wecityctl.provider import state as states
from wecityctl.provider.apply import Apply
from wecityctl.provider.diffing import Difference, compare
from wecityctl.provider.properties import SECRET, SIGNATURE, wire_key
from wecityctl.provider.zeros import without_zeros

OFFICIAL = Path(__file__).with_name("official")
PLACE = "official"
MASKED = "[secret]"


def recorded() -> dict[str, Any]:
    """The state the official plug-in wrote, its namespace `default` renamed."""
    text = (OFFICIAL / "program-official-4.28.0.json").read_text(encoding="utf-8")
    for old, new in (('"namespace": "default"', f'"namespace": "{PLACE}"'), ('"id": "default/', f'"id": "{PLACE}/')):
        assert old in text
        text = text.replace(old, new)
    found: dict[str, Any] = json.loads(text)
    return found


def opened(value: Any, mask: Any = None) -> Any:
    """A recorded value with its secrets in clear, or each as `mask`."""
    if isinstance(value, dict):
        if value.get(SIGNATURE) == SECRET:
            return mask or json.loads(value["plaintext"])
        return {wire_key(key): opened(item, mask) for key, item in value.items()}
    return [opened(item, mask) for item in value] if isinstance(value, list) else value


def objects(state: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The recorded Kubernetes resources by logical name."""
    return {r["urn"].rsplit("::", 1)[-1]: r for r in state["resources"] if r["type"].startswith("kubernetes:")}


async def apply(access_text: str, resources: list[dict[str, Any]]) -> dict[str, Schema]:
    """Apply what is recorded, each under its recorded manager; the schemas of the kinds."""
    async with HttpPool() as pool, KubeClient(load_access(access_text, None), pool) as client:
        for kind in ("Namespace", "ServiceAccount"):
            body = {"apiVersion": "v1", "kind": kind, "metadata": {"name": PLACE}}
            if kind == "ServiceAccount":
                body["metadata"] = {"name": "default", "namespace": PLACE}
            await client.apply(body, field_manager="test")
        schemas = {}
        for resource in resources:
            body, manager = opened(resource["inputs"]), resource["outputs"]["__fieldManager"]
            await Apply(client, manager, force=False, warn=print, report=print, timeout=30).make(body)
            schemas[body["kind"]] = await client.schema(body["apiVersion"], body["kind"])
        return schemas


@pytest.fixture
def stack(api_server: ControlPlane, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stack]:
    config = yaml.safe_load(api_server.kubeconfig_text)
    config["contexts"][0]["context"]["namespace"] = PLACE
    kubeconfig = tmp_path / "kubeconfig"
    kubeconfig.write_text(yaml.safe_dump(config))
    server = ServerThread()
    with environment(tmp_path, monkeypatch):
        monkeypatch.setenv("KUBECONFIG", str(kubeconfig))
        made = make_stack("o1", lambda: runpy.run_path(str(OFFICIAL / "program.py")), server.open("o1"), "cases")
        yield made
    server.close()


@pytest.mark.cluster
def test_the_built_in_provider_takes_over_without_a_difference(stack: Stack, api_server: ControlPlane) -> None:
    state = recorded()
    theirs = objects(state)
    schemas = asyncio.run(apply(api_server.kubeconfig_text, list(theirs.values())))
    stack.automation.import_stack(Deployment(version=3, deployment=state))

    events: list[Any] = []
    assert stack.preview(on_event=events.append) == {"same": 46}, stack.said
    # What the program says, as our Check leaves it; nothing is recorded otherwise by a create.
    ours = {
        e.resource_pre_event.metadata.urn.rsplit("::", 1)[-1]: e.resource_pre_event.metadata.new.inputs
        for e in events
        if e.resource_pre_event and e.resource_pre_event.metadata.type.startswith("kubernetes:")
    }
    assert ours.keys() == theirs.keys()
    table = yaml.safe_load((OFFICIAL / "kept.yaml").read_text(encoding="utf-8"))
    found: dict[str, dict[str, str]] = {}
    for name, inputs in ours.items():
        their = states.wire(opened(theirs[name]["inputs"], MASKED))
        our = states.wire(_masked(inputs))
        found[name] = {d.text: d.change for d in compare(our, their)}
        # Read with the Go types and the API's quantities, both say the same: neither plug-in finds a difference.
        assert compare(*without_zeros(our, their), schemas[our["kind"]]) == [], name
    found = {name: changes for name, changes in sorted(found.items()) if changes}
    assert found == table, yaml.safe_dump(found)

    # The objects have been made anew since: a refresh takes over nothing that a run would change.
    stack.refresh()
    assert stack.preview() == {"same": 46}, stack.said

    # And back: what ours has recorded is smaller, and all that the official plug-in compares with is in it.
    back = objects(stack.automation.export_stack().deployment)
    for name in theirs:
        outputs, asked = opened(back[name]["outputs"]), opened(back[name]["inputs"])
        assert not any("fieldsV1" in entry for entry in outputs["metadata"].get("managedFields", ())), name
        kind = schemas[asked["kind"]]
        assert official_diff(outputs, asked, kind) == [], name
        assert official_diff({key: value for key, value in outputs.items() if key != "__inputs"}, asked, kind), name


def official_diff(outputs: dict[str, Any], asked: dict[str, Any], schema: Schema) -> list[Difference]:
    """What the official plug-in's Diff finds, since version 4.0: the recorded live object, without what is not in the
    recorded `__inputs`, is compared with the new inputs. Source: `kubeProvider.Diff` in pulumi-kubernetes."""
    recorded = pruned(states.live_of(outputs), states.wire(outputs.get("__inputs") or {}))
    return compare(*without_zeros(recorded, states.wire(asked)), schema)


def pruned(live: Any, shape: Any) -> Any:
    """A live value without the fields that `shape` does not have; lists of another length as they are."""
    if isinstance(live, dict) and isinstance(shape, dict):
        return {key: pruned(value, shape[key]) for key, value in live.items() if key in shape}
    if isinstance(live, list) and isinstance(shape, list) and len(live) == len(shape):
        return [pruned(*pair) for pair in zip(live, shape, strict=True)]
    return live


@pytest.mark.parametrize("left_out", ["", "managedFields", "__inputs"])
def test_of_the_outputs_the_official_plugin_compares_with_the_recorded_inputs_alone(left_out: str) -> None:
    """Its own state, read as it reads it, has no difference; without `__inputs` every object has."""
    for name, resource in objects(recorded()).items():
        outputs, asked = opened(resource["outputs"]), opened(resource["inputs"])
        outputs["metadata"].pop(left_out, None)
        outputs.pop(left_out, None)
        assert bool(official_diff(outputs, asked, Schema())) == (left_out == "__inputs"), name


def _masked(value: Any) -> Any:
    if isinstance(value, dict):
        return MASKED if SIGNATURE in value else {wire_key(key): _masked(item) for key, item in value.items()}
    if not isinstance(value, list):
        return value
    # The official plug-in makes a list secret as a whole.
    elements = [_masked(item) for item in value]
    return MASKED if MASKED in json.dumps(elements) else elements


def test_the_table_of_zeros_is_that_of_the_go_types() -> None:
    version = api_version()
    root = sources(version)
    if root is None:
        pytest.skip(f"the API's Go sources {version} are not on this machine")
    assert ZEROS.read_text(encoding="utf-8") == table(root, version)
