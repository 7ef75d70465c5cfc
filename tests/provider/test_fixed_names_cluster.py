"""Objects with a fixed name under the real engine: renamed, replaced on purpose, and made by runs that were killed."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pulumi
import pulumi_kubernetes as k8s
import pytest
from pulumi.automation import CommandError

from tests.provider.engine_support import ServerThread, Stack, engines_of, environment, make_stack
from tests.support.control_plane import ControlPlane
from wecityctl.model.naming import RETAINED_FOR
from wecityctl.provider import create_update

pytestmark = pytest.mark.cluster
StackFactory = Callable[..., Stack]


@pytest.fixture
def servers() -> Iterator[ServerThread]:
    server = ServerThread()
    yield server
    server.close()


@pytest.fixture
def stacks(servers: ServerThread, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[StackFactory]:
    with environment(tmp_path, monkeypatch):
        yield lambda name, program: make_stack(name, program, lambda: servers.open(name))


@pytest.fixture
def namespace(cluster: ControlPlane, request: pytest.FixtureRequest) -> str:
    name = request.node.originalname.replace("_", "-")[5:60].strip("-")
    cluster.kubectl("create", "namespace", name)
    return name


def options(cluster: ControlPlane, name: str = "cluster", identifier: str = "test", **more: Any) -> Any:
    made = k8s.Provider(
        name,
        kubeconfig=pulumi.Output.secret(cluster.kubeconfig_text),
        cluster_identifier=identifier,
        enable_config_map_mutable=True,
    )
    return pulumi.ResourceOptions(provider=made, **more)


def live(cluster: ControlPlane, name: str, namespace: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(
        cluster.kubectl("get", "configmap", name, "-n", namespace, "-o", "json", "--show-managed-fields")
    )
    return found


def test_a_renamed_resource_does_not_lose_its_object(
    stacks: StackFactory, cluster: ControlPlane, namespace: str
) -> None:
    wish: dict[str, Any] = {"name": "old", "aliases": None}

    def program() -> None:
        opts = options(cluster, aliases=wish["aliases"])
        k8s.core.v1.ConfigMap(wish["name"], metadata={"name": "a", "namespace": namespace}, data={"x": "1"}, opts=opts)

    stack = stacks("rename", program)
    stack.up()
    before = live(cluster, "a", namespace)
    wish["name"] = "new"
    for run in (stack.preview, stack.up):
        with pytest.raises(CommandError, match="exists already and is not managed by this resource"):
            run()
    assert live(cluster, "a", namespace) == before
    assert "old" in stack.resources()
    # The ways out, each without a loss: an alias ...
    wish["aliases"] = [pulumi.Alias(name="old")]
    assert stack.up() == {"same": 3}
    assert live(cluster, "a", namespace) == before
    # ... or the mark.
    wish.update(name="newest", aliases=None)
    urn = stack.resources()["new"]["urn"].replace("::new", "::newest")
    cluster.kubectl("annotate", "configmap", "a", "-n", namespace, f"{RETAINED_FOR}={urn}")
    assert stack.up() == {"create": 1, "delete": 1, "same": 2}
    after = live(cluster, "a", namespace)
    assert (after["metadata"]["uid"], after["data"]) == (before["metadata"]["uid"], before["data"])
    assert stack.refresh() == {"same": 3}
    stack.destroy()
    assert cluster.kubectl("get", "configmap", "a", "-n", namespace, "--ignore-not-found") == ""


def test_replacements_of_the_engines_own(stacks: StackFactory, cluster: ControlPlane, namespace: str) -> None:
    """`replace_on_changes` deletes first; `--replace` and another provider for the same cluster adopt in place."""
    wish: dict[str, Any] = {"x": "1", "provider": ("cluster", "test")}

    def program() -> None:
        opts = options(cluster, *wish["provider"], replace_on_changes=["metadata.labels"])
        labels = {"x": str(wish["x"])}
        place = k8s.core.v1.Namespace("ns", metadata={"name": f"{namespace}-b", "labels": labels}, opts=opts)
        metadata: Any = {"name": "a", "namespace": f"{namespace}-b", "labels": labels}
        below = pulumi.ResourceOptions.merge(opts, pulumi.ResourceOptions(depends_on=[place]))
        k8s.core.v1.ConfigMap("a", metadata=metadata, data={"x": "1"}, opts=below)

    space = f"{namespace}-b"
    stack = stacks("replacing", program)
    stack.up()

    def uids() -> tuple[str, str]:
        found = live(cluster, "a", space)
        assert found["metadata"]["labels"]["x"] == wish["x"]
        owner = cluster.kubectl("get", "namespace", space, "-o", "jsonpath={.metadata.uid}")
        return owner, found["metadata"]["uid"]

    first = uids()
    wish["x"] = "2"
    assert stack.up() == {"replace": 2, "same": 2}
    second = uids()
    assert second[0] == first[0], "what a namespace holds is not given up for a label"
    assert second[1] != first[1]
    urns = [item["urn"] for item in stack.resources().values() if item["type"].startswith("kubernetes:")]
    assert stack.up(replace=urns) == {"replace": 2, "same": 2}
    assert uids() == second
    wish["provider"] = ("another", "moved")
    assert stack.up()["replace"] == 2
    assert uids() == second
    assert stack.up() == {"same": 4}
    stack.destroy()
    assert cluster.kubectl("get", "namespace", space, "--ignore-not-found") == ""


def test_killed_after_each_create_and_before_its_record(
    servers: ServerThread,
    cluster: ControlPlane,
    namespace: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    names = ["a", "b", "c"]
    create, killed = create_update.create, list(names)

    async def create_and_kill(provider: Any, target: Any, inputs: Any, *, seconds: float) -> Any:
        made = await create(provider, target, inputs, seconds=seconds)
        if target.name in killed:
            killed.remove(target.name)
            for engine in engines_of(tmp_path):
                engine.send(signal.SIGKILL)
        return made

    monkeypatch.setattr(create_update, "create", create_and_kill)

    def program() -> None:
        opts = options(cluster)
        for name in names:
            made = k8s.core.v1.ConfigMap(
                name, metadata={"name": name, "namespace": namespace}, data={"x": "1"}, opts=opts
            )
            opts = pulumi.ResourceOptions.merge(opts, pulumi.ResourceOptions(depends_on=[made]))

    with environment(tmp_path, monkeypatch):
        stack = make_stack("killed", program, servers.open("killed"))
        uids = []
        for name in names:
            with pytest.raises(CommandError):
                stack.up()
            stack.automation.cancel()
            assert name not in stack.resources(), "the kill came too late to prove anything"
            uids.append(live(cluster, name, namespace)["metadata"]["uid"])
        older = stack.automation.export_stack()
        stack.up()
        assert stack.up() == {"same": 5}
        # The state of before the last create again, as from a backup.
        stack.automation.import_stack(older)
        stack.up()
        assert stack.up() == {"same": 5}
        assert [live(cluster, name, namespace)["metadata"]["uid"] for name in names] == uids
        stack.destroy()
        assert cluster.kubectl("get", "configmaps", "-n", namespace, "-o", "name").count("/") == 1  # the cluster's own
