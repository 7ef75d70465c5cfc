"""The provider under the real Pulumi engine: whole stacks through the Automation API against a real API server."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pulumi
import pulumi_kubernetes as k8s
import pytest
from pulumi.automation import CommandError

from tests.provider.engine_support import ServerThread, Stack, engines_of, environment, make_stack
from tests.provider.objects import definition, deployment
from tests.support.control_plane import ControlPlane, control_plane
from tests.support.processes import left_of, matching
from wecityctl.local.proctable import Identity

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


def provider(cluster: ControlPlane, **settings: Any) -> pulumi.ResourceOptions:
    """A provider resource, as the stacks make theirs."""
    made = k8s.Provider(
        "cluster",
        kubeconfig=pulumi.Output.secret(cluster.kubeconfig_text),
        cluster_identifier="test",
        enable_config_map_mutable=True,
        enable_secret_mutable=True,
        **settings,
    )
    return pulumi.ResourceOptions(provider=made)


def test_the_life_of_a_stack(stacks: StackFactory, cluster: ControlPlane) -> None:
    wish = {"value": "one", "count": 5, "password": "hunter2"}

    def program() -> None:
        options = provider(cluster)
        namespace = k8s.core.v1.Namespace("ns", metadata={"name": "life"}, opts=options)
        for i in range(wish["count"]):
            metadata = {"name": f"config-{i}", "namespace": namespace.metadata["name"]}
            k8s.core.v1.ConfigMap(f"config-{i}", metadata=metadata, data={"value": str(wish["value"])}, opts=options)
        place = {"name": "s", "namespace": namespace.metadata["name"]}
        k8s.core.v1.Secret("secret", metadata=place, string_data={"password": str(wish["password"])}, opts=options)
        pulumi.export("uid", namespace.metadata["uid"])

    stack = stacks("life", program)
    assert stack.preview() == {"create": 9}
    told = [line for line in stack.output if "namespace life does not exist yet" in line]
    assert len([line for line in told if line.lstrip().startswith("previewed")]) == 1, told
    assert stack.up() == {"create": 9}
    assert stack.up() == {"same": 9}
    assert stack.refresh() == {"same": 9}
    wish["value"] = "two"
    assert stack.preview() == {"update": 5, "same": 4}
    assert stack.up() == {"update": 5, "same": 4}
    wish["password"] = "hunter3"
    assert stack.preview(diff=True) == {"update": 1, "same": 8}
    assert "password" in stack.said
    assert stack.up() == {"update": 1, "same": 8}
    for hidden in ("hunter2", "hunter3", "aHVudGVy"):
        assert hidden not in stack.said
    assert "hunter2" not in json.dumps(_encrypted_state())
    wish["count"] = 3
    assert stack.up() == {"delete": 2, "same": 7}
    cluster.kubectl("patch", "configmap", "config-1", "-n", "life", "--type=merge", "-p", '{"data":{"value":"hand"}}')
    assert stack.refresh() == {"update": 1, "same": 6}
    with pytest.raises(CommandError, match="server-side apply field conflict detected"):
        stack.up()
    cluster.kubectl("delete", "configmap", "config-1", "-n", "life")
    assert stack.refresh() == {"delete": 1, "same": 6}
    assert stack.up() == {"create": 1, "same": 6}
    assert stack.destroy()["delete"] == 7
    assert "life" not in cluster.kubectl("get", "namespaces", "-o", "name")


def _encrypted_state() -> list[str]:
    place = Path(os.environ["PULUMI_BACKEND_URL"].removeprefix("file://"))
    return [path.read_text() for path in place.rglob("*.json")]


def test_replacing_by_a_selector_and_by_a_name(stacks: StackFactory, cluster: ControlPlane) -> None:
    wish = {"app": "one"}

    def program() -> None:
        options = provider(cluster, namespace="default")
        spec = deployment("x", "default", app=wish["app"])["spec"]
        k8s.apps.v1.Deployment("fixed", metadata={"name": "fixed"}, spec=spec, opts=options)
        k8s.core.v1.ConfigMap("auto", immutable=True, data={"app": wish["app"]}, opts=options)

    stack = stacks("replace", program)
    stack.up()
    first = stack.resources()
    assert first["auto"]["id"].startswith("default/auto-")
    wish["app"] = "two"
    assert stack.preview() == {"replace": 2, "same": 2}
    assert stack.up() == {"replace": 2, "same": 2}
    lines = stack.said
    assert lines.index("Deployment fixed deleted") < lines.index("Deployment fixed created")
    assert lines.index("ConfigMap auto created") < lines.index("ConfigMap auto deleted")
    second = stack.resources()
    assert first["fixed"]["id"] == second["fixed"]["id"]
    assert first["auto"]["id"] != second["auto"]["id"]
    stack.destroy()


def test_a_failure_in_the_middle_is_kept_and_mended(stacks: StackFactory, cluster: ControlPlane) -> None:
    wish: dict[str, Any] = {"nodeSelector": {"no": "such-node"}}

    def program() -> None:
        options = provider(cluster, namespace="default")
        spec = deployment("x", "default", app="middle", **wish)["spec"]
        metadata = {"name": "middle", "annotations": {"pulumi.com/timeoutSeconds": "3"}}
        broken = k8s.apps.v1.Deployment("broken", metadata=metadata, spec=spec, opts=options)
        k8s.core.v1.ConfigMap("beside", metadata={"name": "beside"}, data={"a": "1"}, opts=options)
        after = pulumi.ResourceOptions.merge(options, pulumi.ResourceOptions(depends_on=[broken]))
        k8s.core.v1.ConfigMap("after", metadata={"name": "after"}, data={"a": "1"}, opts=after)

    stack = stacks("middle", program)
    with pytest.raises(CommandError, match="not ready"):
        stack.up(continue_on_error=True)
    assert "node" in stack.said
    resources = stack.resources()
    assert resources["broken"]["initErrors"]
    assert "beside" in resources
    assert "after" not in resources
    wish.clear()
    assert stack.up() == {"update": 1, "create": 1, "same": 3}
    assert "initErrors" not in stack.resources()["broken"]
    assert stack.up() == {"same": 5}
    stack.destroy()


def test_a_definition_and_its_resource_in_one_stack(stacks: StackFactory, cluster: ControlPlane) -> None:
    def program() -> None:
        options = provider(cluster, namespace="default")
        crd = definition("stack.example.com", "Gadget")
        made = k8s.apiextensions.v1.CustomResourceDefinition(
            "crd", metadata=crd["metadata"], spec=crd["spec"], opts=options
        )
        after = pulumi.ResourceOptions.merge(options, pulumi.ResourceOptions(depends_on=[made]))
        k8s.apiextensions.CustomResource(
            "gadget",
            api_version="stack.example.com/v1",
            kind="Gadget",
            metadata={"name": "g"},
            spec={"n": 1},
            opts=after,
        )

    stack = stacks("custom", program)
    assert stack.preview() == {"create": 4}
    assert "does not serve Gadget" in stack.said
    assert stack.up() == {"create": 4}
    assert stack.preview() == {"same": 4}
    assert stack.refresh() == {"same": 4}
    assert stack.destroy()["delete"] == 4


def test_import_by_option(stacks: StackFactory, cluster: ControlPlane) -> None:
    manifest = deployment("imported", "default", app="imported")
    cluster.kubectl("apply", "--server-side", "-f", "-", stdin=json.dumps(manifest))
    wish: dict[str, Any] = {"import": "default/imported"}

    def program() -> None:
        options = provider(cluster)
        imported = pulumi.ResourceOptions.merge(options, pulumi.ResourceOptions(import_=wish["import"]))
        metadata = {"name": "imported", "namespace": "default"}
        k8s.apps.v1.Deployment("d", metadata=metadata, spec=manifest["spec"], opts=imported)

    stack = stacks("import", program)
    assert stack.up() == {"create": 2, "import": 1}
    wish["import"] = None
    assert stack.up() == {"same": 3}
    stack.destroy()
    assert "imported" not in cluster.kubectl("get", "deployments", "-o", "name")


def test_what_is_not_served_names_the_official_plugin(stacks: StackFactory, cluster: ControlPlane) -> None:
    def program() -> None:
        options = provider(cluster)
        k8s.helm.v3.Release("chart", chart="nginx", opts=options)

    stack = stacks("helm", program)
    with pytest.raises(CommandError, match="pulumi-resource-kubernetes"):
        stack.up()


def test_a_kubeconfig_that_is_not_known_yet(stacks: StackFactory, cluster: ControlPlane) -> None:
    def program() -> None:
        first = provider(cluster)
        marker = k8s.core.v1.ConfigMap("marker", metadata={"name": "marker", "namespace": "default"}, opts=first)
        late = marker.metadata["uid"].apply(lambda _: cluster.kubeconfig_text)
        options = pulumi.ResourceOptions(provider=k8s.Provider("late", kubeconfig=late, cluster_identifier="test"))
        k8s.core.v1.ConfigMap("c", metadata={"name": "late", "namespace": "default"}, data={"a": "1"}, opts=options)

    stack = stacks("late", program)
    assert stack.preview() == {"create": 5}
    assert stack.up() == {"create": 5}
    assert stack.up() == {"same": 5}
    stack.destroy()


def test_the_api_server_restarts_in_the_middle(stacks: StackFactory, tmp_path_factory: pytest.TempPathFactory) -> None:
    with control_plane(tmp_path_factory.mktemp("restarting")) as plane:

        def program() -> None:
            options = provider(plane, namespace="default")
            for i in range(150):
                k8s.core.v1.ConfigMap(f"c{i}", metadata={"name": f"c{i}"}, data={"a": "1"}, opts=options)

        stack = stacks("restart", program)

        def restart() -> None:
            while plane.kubectl("get", "configmaps", "-o", "name").count("\n") < 20:
                time.sleep(0.05)
            plane.stop("kube-apiserver", kill=True)
            time.sleep(1)
            plane.start_again("kube-apiserver")
            done.wait()  # the server dies with the thread that started it

        done = threading.Event()
        threading.Thread(target=restart, daemon=True).start()
        try:
            assert stack.up() == {"create": 152}
            plane.wait_until_ready()
            assert plane.kubectl("get", "configmaps", "-o", "name").count("configmap/c") == 150
            assert stack.up() == {"same": 152}
        finally:
            done.set()


def put_back_cut_off_states(place: Path) -> None:
    """The engine writes the attributes of a state in place: killed there, it leaves half of them and cannot go on."""
    for path in place.rglob("stacks/**/*.json"):
        try:
            json.loads(path.read_bytes())
        except ValueError:
            path.write_bytes(path.with_name(f"{path.name}.bak").read_bytes())
    for path in place.rglob("stacks/**/*.attrs"):
        try:
            json.loads(path.read_bytes())
        except ValueError:
            path.unlink()


def test_killed_in_the_middle_and_run_again(
    servers: ServerThread, cluster: ControlPlane, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the killed run made and could not write down is owned by the next one, not in conflict with it."""
    with environment(tmp_path, monkeypatch):
        cluster.kubectl("create", "namespace", "killed")

        def program() -> None:
            options = provider(cluster, namespace="killed")
            for i in range(120):
                k8s.core.v1.ConfigMap(f"c{i}", metadata={"name": f"c{i}"}, data={"a": "1"}, opts=options)

        stack = make_stack("killed", program, servers.open("killed"))

        def made() -> int:
            return cluster.kubectl("get", "configmaps", "-n", "killed", "-o", "name").count("configmap/c")

        def kill() -> None:
            while made() < 30:
                time.sleep(0.02)
            for engine in engines_of(tmp_path):
                engine.send(signal.SIGKILL)

        killer = threading.Thread(target=kill, daemon=True)
        killer.start()
        with pytest.raises(CommandError):
            stack.up()
        killer.join()
        put_back_cut_off_states(tmp_path / "state")
        recorded = len([name for name in stack.resources() if name.startswith("c")])
        assert recorded - 1 < made(), "the kill came too late to prove anything"
        stack.automation.cancel()
        stack.up()
        assert made() == 120
        assert stack.up() == {"same": 122}
        stack.destroy()
        assert made() == 0


def test_plain_pulumi_starts_the_plugin_by_itself(
    tmp_path: Path, cluster: ControlPlane, monkeypatch: pytest.MonkeyPatch
) -> None:
    with environment(tmp_path, monkeypatch):
        folder = tmp_path / "path"
        folder.mkdir()
        plugin = folder / "pulumi-resource-kubernetes"
        plugin.write_text(f'#!/bin/sh\nexec {sys.executable} -m wecityctl.provider "$@"\n')
        plugin.chmod(0o755)
        monkeypatch.setenv("PATH", str(folder), prepend=":")
        monkeypatch.setenv("PYTHONPATH", os.pathsep.join(p for p in sys.path if p))

        def program() -> None:
            options = provider(cluster)
            k8s.core.v1.ConfigMap(
                "c", metadata={"name": "plain", "namespace": "default"}, data={"a": "1"}, opts=options
            )

        stack = make_stack("plain", program, None)
        assert stack.up() == {"create": 3}
        assert stack.destroy()["delete"] == 3
        assert left_of(_processes_of(tmp_path)) == []


def _processes_of(home: Path) -> list[Identity]:
    """Provider processes that were started with this test's environment and are still there."""

    def serves(entry: Path) -> bool:
        return b"wecityctl.provider" in (entry / "cmdline").read_bytes() and (
            str(home).encode() in (entry / "environ").read_bytes()
        )

    return matching(serves)
