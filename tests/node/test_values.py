"""What the node's modules compute: addresses, names, control groups, configuration, volumes. No root is needed."""

from __future__ import annotations

import json
import tomllib
from decimal import Decimal
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wecityctl.errors import DeploymentError
from wecityctl.local.node import cgroups, configure, containerd, kubelet, machine, objects, ready
from wecityctl.local.node.images import Present, canonical
from wecityctl.local.node.layout import Held, HoldSpec, start_time
from wecityctl.local.node.network import BLOCK_PREFIX, POOL, Block, Link, choose
from wecityctl.local.node.nft import base_ruleset
from wecityctl.local.node.provisioner import roles, storage_class, volumes
from wecityctl.local.node.provisioner.directories import Directories
from wecityctl.local.node.standard_images import standard_images
from wecityctl.local.spec import ImageRef

BLOCK = Block.parse("198.18.8.0/21")
UID = "7cc94b6a-576a-46ed-810d-e7da766711d8"


# addresses


def test_block_parts_are_inside_and_apart() -> None:
    parts = [IPv4Network(text) for text in (BLOCK.link_cidr, BLOCK.pod_cidr, BLOCK.service_cidr)]
    assert all(part.subnet_of(BLOCK.network) for part in parts)
    assert not any(a.overlaps(b) for a in parts for b in parts if a is not b)
    assert (BLOCK.bridge_ip, BLOCK.node_ip) == ("198.18.8.1", "198.18.8.2")
    assert (BLOCK.service_ip, BLOCK.dns_ip) == ("198.18.12.1", "198.18.12.10")


@pytest.mark.parametrize("text", ["10.0.0.0/21", "198.18.0.0/20", "198.18.1.0/21", "nonsense"])
def test_foreign_block_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        Block.parse(text)


@given(st.integers(0, 2**32 - 1), st.lists(st.integers(0, 63), max_size=40))
def test_chosen_block_is_free(cloud: int, taken: list[int]) -> None:
    every = [Block(network) for network in POOL.subnets(new_prefix=BLOCK_PREFIX)]
    used = [every[index] for index in taken]
    chosen = choose(f"{cloud:08x}", [IPv4Network("192.168.0.0/16")], used)
    assert chosen not in used
    assert Block.parse(str(chosen)) == chosen


def test_no_block_left() -> None:
    with pytest.raises(DeploymentError, match="no free address block"):
        choose("00000000", [POOL], ())


def test_interface_names_fit_the_kernel() -> None:
    link = Link.of("ffffffff")
    assert link.bridge != link.veth and max(len(link.bridge), len(link.veth)) <= 15


# control groups

_V1 = """31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw
32 31 0:29 / {root}/cpu,cpuacct rw,nosuid - cgroup cgroup rw,cpu,cpuacct
34 31 0:31 / {root}/cpuset rw - cgroup cgroup rw,cpuset
35 31 0:32 / {root}/memory rw - cgroup cgroup rw,memory
40 31 0:37 / {root}/systemd rw - cgroup cgroup rw,name=systemd
41 31 0:38 / {root}/unified rw - cgroup2 cgroup2 rw
"""


def test_version_1_and_hybrid(tmp_path: Path) -> None:
    for name in ("cpu,cpuacct", "cpuset", "memory", "systemd"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "tasks").touch()
    (tmp_path / "unified").mkdir()
    found = cgroups.detect(_V1.format(root=tmp_path), tmp_path)
    assert found.version == 1
    assert found.missing == ("pids",)
    assert {path.name for path in found.mounts} == {"cpu,cpuacct", "cpuset", "memory", "systemd", "unified"}


def test_version_2(tmp_path: Path) -> None:
    (tmp_path / "cgroup.controllers").write_text("cpuset cpu io memory\n")
    found = cgroups.detect(f"30 23 0:26 / {tmp_path} rw - cgroup2 cgroup rw,nsdelegate\n", tmp_path)
    assert (found.version, found.mounts, found.missing) == (2, (tmp_path,), ("pids",))


def test_version_2_hands_controllers_down(tmp_path: Path) -> None:
    for group in (tmp_path, tmp_path / "wecity-x"):
        group.mkdir(exist_ok=True)
        (group / "cgroup.controllers").write_text("cpu memory pids\n")
        (group / "cgroup.subtree_control").write_text("memory\n")
    cgroups.create(cgroups.Hierarchies(2, (tmp_path,)), "wecity-x")
    # A plain file keeps the last word written to it: the kernel's would add them up.
    assert (tmp_path / "cgroup.subtree_control").read_text() == "+pids"
    assert (tmp_path / "wecity-x" / "cgroup.subtree_control").read_text() == "+pids"


def test_no_control_groups() -> None:
    assert cgroups.detect("23 1 0:1 / / rw - ext4 /dev/vda rw\n").version == 0


def test_capabilities_are_read() -> None:
    status = "Name:\tx\nCapEff:\t000001fffeffffff\n"
    assert machine.has_capability(machine.CAP_SYS_ADMIN, status)
    assert not machine.has_capability(machine.CAP_SYS_RESOURCE, status)


# configuration


def test_containerd_configuration_is_toml() -> None:
    settings = containerd.ContainerdSettings(
        root="/run/wecity/containerd",
        cni_conf="/run/wecity/etc/cni",
        cni_bin=("/usr/lib/cni", '/with "quotes"'),
        runc="/usr/sbin/runc",
        pause_image="docker.io/wecity/pause:1",
        snapshotter="native",
        restrict_oom_score=True,
        registries="/run/wecity/etc/registries",
    )
    found = tomllib.loads(containerd.render(settings))
    runtime = found["plugins"]["io.containerd.cri.v1.runtime"]
    assert runtime["restrict_oom_score_adj"] is True
    assert runtime["cni"]["bin_dirs"] == ["/usr/lib/cni", '/with "quotes"']
    assert runtime["containerd"]["runtimes"]["runc"]["options"]["SystemdCgroup"] is False
    images = found["plugins"]["io.containerd.cri.v1.images"]
    assert images["snapshotter"] == "native"
    assert images["registry"]["config_path"] == "/run/wecity/etc/registries"
    assert found["imports"] == [], "the host's own containerd has no say"


def test_cni_chain_ends_with_what_is_chained() -> None:
    found = json.loads(containerd.cni_conflist("10.0.0.0/24", [containerd.PORT_MAP, {"type": "last"}]))
    assert [each["type"] for each in found["plugins"]] == ["ptp", "portmap", "last"]
    assert found["plugins"][0]["ipMasq"] is False


@pytest.mark.parametrize("able", [True, False])
def test_kubelet_lowers_its_score_only_where_it_may(able: bool) -> None:
    imported = ("built.example/*",)
    settings = kubelet.KubeletSettings("/etc", "/logs", "/plugins", BLOCK.dns_ip, "wecity-x", able, imported)
    found = json.loads(kubelet.kubelet_config(settings))
    assert found["oomScoreAdj"] == (-999 if able else 0)
    assert found["cgroupRoot"] == "/wecity-x"
    assert found["authentication"]["anonymous"]["enabled"] is False


def test_images_that_are_imported_are_asked_for_at_no_registry() -> None:
    references = ("built.wecity.invalid/web:1-a", "wecity.test:5000/a/probe:1", f"other/x:1@sha256:{'0' * 64}")
    names = configure.imported([ImageRef(reference, Path("a.tar")) for reference in references])
    assert names == ("built.wecity.invalid/*", "other/x", "wecity.test:5000/a/probe")


def test_kube_proxy_leaves_the_machine_alone() -> None:
    found = json.loads(kubelet.kube_proxy_config("/etc", "real-0", BLOCK))
    assert found["mode"] == "nftables"
    assert set(found["conntrack"].values()) == {0, "0s"}


def test_base_ruleset_closes_the_way_out() -> None:
    text = base_ruleset(BLOCK, 6443)
    assert "policy drop" in text
    assert f"ip daddr {BLOCK.bridge_ip} tcp dport 6443 accept" in text


def test_hold_spec_round_trip(tmp_path: Path) -> None:
    spec = HoldSpec("/d", "/r", "g", "b", "v", str(BLOCK), 6443, "rules", 1.5)
    (tmp_path / "spec").write_bytes(spec.dump())
    assert HoldSpec.load(tmp_path / "spec") == spec


def test_held_process_is_known_by_its_start(tmp_path: Path) -> None:
    import os

    path = tmp_path / "held"
    path.write_bytes(Held(os.getpid(), start_time(os.getpid())).dump())
    assert Held.load(path) is not None
    path.write_bytes(Held(os.getpid(), 1).dump())
    assert Held.load(path) is None, "a number used again is not the holder"
    path.write_text("{")
    assert Held.load(path) is None


# images


@pytest.mark.parametrize(
    ("reference", "full"),
    [
        ("web", "docker.io/library/web:latest"),
        ("web:1", "docker.io/library/web:1"),
        ("wecity/web:1", "docker.io/wecity/web:1"),
        ("docker.io/web:1", "docker.io/library/web:1"),
        ("registry.example/web", "registry.example/web:latest"),
        ("localhost/web:1", "localhost/web:1"),
        ("host:5000/a/b:1", "host:5000/a/b:1"),
        ("host:5000/a/b@sha256:00", "host:5000/a/b@sha256:00"),
    ],
)
def test_canonical_names(reference: str, full: str) -> None:
    assert canonical(reference) == full


def test_standard_images_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    given_ = (
        ImageRef("built.example/pause:1-a", tmp_path / "p"),
        ImageRef("built.example/coredns:1-b", tmp_path / "c"),
    )
    found = standard_images(given_, {})
    assert found.dns == "built.example/coredns:1-b"
    assert {each.reference for each in found.archives} == {"docker.io/wecity/pause:1", "built.example/coredns:1-b"}


def test_standard_images_already_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    names = ("docker.io/wecity/pause:1", "built.example/coredns:1-b")
    found = standard_images((), {name: Present(name, "sha256:0", "") for name in names})
    assert (found.archives, found.dns) == ((), "built.example/coredns:1-b")


def test_standard_images_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(DeploymentError, match="the image pause") as caught:
        standard_images((), {})
    assert caught.value.resolution == "wecityctl images build pause"


# objects and readiness


def test_paths_of_objects() -> None:
    every = (*objects.dns("image", "10.0.0.10"), *objects.metrics("10.0.0.2", 4443, b"ca"), *objects.policy_agent())
    every += (*roles(), storage_class("x", "Delete", default=True))
    paths = [objects.path(each) for each in every]
    assert len(set(paths)) == len(paths)
    assert "/apis/apps/v1/namespaces/kube-system/deployments/coredns" in paths
    assert "/apis/apiregistration.k8s.io/v1/apiservices/v1beta1.metrics.k8s.io" in paths


def test_labels_of_zones_that_left_are_removed() -> None:
    existing = {"wecity.dev/zone.old": "true", "wecity.dev/zone.a": "true", "other": "x"}
    assert objects.node_labels(["a"], existing) == {
        "wecity.dev/zone.old": None,
        "wecity.dev/zone.a": "true",
        "wecity.dev/simulated": "false",
    }


def _node(status: str, heartbeat: str) -> dict[str, Any]:
    return {"status": {"conditions": [{"type": "Ready", "status": status, "lastHeartbeatTime": heartbeat}]}}


def test_former_readiness_does_not_count() -> None:
    assert ready.node_is_ready(_node("True", "1970-01-01T00:01:40Z"), 100.5)
    assert not ready.node_is_ready(_node("True", "1970-01-01T00:01:39Z"), 100.5)
    assert not ready.node_is_ready(_node("False", "1970-01-01T00:01:40Z"), 100.5)
    assert not ready.node_is_ready({}, 0)


def test_stale_pods() -> None:
    def pod(name: str, state: dict[str, Any]) -> dict[str, Any]:
        return {"metadata": {"namespace": "n", "name": name}, "status": {"containerStatuses": [{"state": state}]}}

    pods = [
        pod("old", {"running": {"startedAt": "1970-01-01T00:00:59Z"}}),
        pod("new", {"running": {"startedAt": "1970-01-01T00:01:01Z"}}),
        pod("waiting", {"waiting": {"reason": "CrashLoopBackOff"}}),
        {"metadata": {"namespace": "n", "name": "fresh"}},
    ]
    assert ready.stale_pods(pods, 60) == ("n/old",)


# volumes


def _claim(**spec: Any) -> dict[str, Any]:
    annotations = {
        "volume.kubernetes.io/storage-provisioner": "wecity.dev/local",
        "volume.kubernetes.io/selected-node": "real-0",
    }
    resources = {"requests": {"storage": "1Gi"}}
    return {
        "metadata": {"namespace": "n", "name": "data", "uid": UID, "annotations": annotations},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": resources, "storageClassName": "wecity-local", **spec},
        "status": {"phase": "Pending"},
    }


def _built(node_labels: dict[str, str]) -> dict[str, Any]:
    node = {"metadata": {"name": "real-0", "labels": node_labels}}
    return volumes.build(_claim(), storage_class("wecity-local", "Retain", default=True), node, "/run/wecity/volumes")


def test_volume_on_real_node_is_bound_to_it() -> None:
    found = _built({"kubernetes.io/hostname": "host", "wecity.dev/simulated": "false"})
    assert found["spec"]["local"]["path"] == f"/run/wecity/volumes/pvc-{UID}"
    assert found["spec"]["claimRef"]["uid"] == UID
    assert found["spec"]["persistentVolumeReclaimPolicy"] == "Retain"
    term = found["spec"]["nodeAffinity"]["required"]["nodeSelectorTerms"][0]["matchExpressions"][0]
    assert term == {"key": "kubernetes.io/hostname", "operator": "In", "values": ["host"]}


def test_volume_on_simulated_node_is_in_name_only() -> None:
    found = _built({"wecity.dev/simulated": "true"})
    assert "local" not in found["spec"] and "hostPath" in found["spec"]
    assert volumes.keeps_data(found), "there is no data to remove"
    term = found["spec"]["nodeAffinity"]["required"]["nodeSelectorTerms"][0]["matchExpressions"][0]
    assert term["key"] == "wecity.dev/simulated"


def test_which_claims_want_a_volume() -> None:
    assert volumes.wants_volume(_claim())
    assert not volumes.wants_volume(_claim(volumeName="x"))
    assert not volumes.wants_volume({**_claim(), "status": {"phase": "Bound"}})
    foreign = _claim()
    foreign["metadata"]["annotations"] = {"volume.kubernetes.io/storage-provisioner": "somebody.else"}
    assert not volumes.wants_volume(foreign)


@pytest.mark.parametrize(
    ("spec", "word"),
    [({}, ""), ({"volumeMode": "Block"}, "directories"), ({"selector": {}}, ""), ({"selector": {"a": "b"}}, "selector"),
     ({"dataSource": {"kind": "VolumeSnapshot"}}, "snapshots")],
)  # fmt: skip
def test_refusals(spec: dict[str, Any], word: str) -> None:
    reason = volumes.refusal(_claim(**spec))
    assert word in reason and bool(reason) == bool(word)


@pytest.mark.parametrize(
    ("phase", "policy", "deletes"),
    [("Released", "Delete", True), ("Released", "Retain", False), ("Bound", "Delete", False)],
)
def test_which_volumes_go(phase: str, policy: str, deletes: bool) -> None:
    volume = _built({})
    volume["status"] = {"phase": phase}
    volume["spec"]["persistentVolumeReclaimPolicy"] = policy
    assert volumes.wants_deletion(volume) is deletes


def test_release_waits_for_others() -> None:
    volume = _built({})
    assert not volumes.wants_release(volume)
    volume["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    assert volumes.wants_release(volume)
    volume["metadata"]["finalizers"].append("kubernetes.io/pv-protection")
    assert not volumes.wants_release(volume)


@pytest.mark.parametrize(("wanted", "have", "size"), [("2Gi", "1Gi", "2Gi"), ("1024Mi", "1Gi", ""), ("1G", "1Gi", "")])
def test_growth(wanted: str, have: str, size: str) -> None:
    claim = _claim(resources={"requests": {"storage": wanted}})
    claim["status"] = {"phase": "Bound", "capacity": {"storage": have}}
    assert volumes.growth(claim) == size


@pytest.mark.parametrize(
    ("text", "value"),
    [("1Ki", 1024), ("1.5Gi", 1610612736), ("100m", Decimal("0.1")), ("2k", 2000), ("1e3", 1000), ("7", 7)],
)
def test_quantities(text: str, value: Decimal) -> None:
    assert volumes.quantity(text) == value


# directories


def test_directory_is_removed_whole(tmp_path: Path) -> None:
    directories = Directories(tmp_path)
    directories.make(f"pvc-{UID}")
    (tmp_path / f"pvc-{UID}" / "file").touch()
    directories.remove(f"pvc-{UID}")
    directories.remove(f"pvc-{UID}")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["../../etc", "pvc-", "", f"pvc-{UID}/.."])
def test_only_our_names_are_touched(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError):
        Directories(tmp_path).remove(name)


def test_sweep_spares_data(tmp_path: Path) -> None:
    known, empty, full = (f"pvc-{digit * 8}{UID[8:]}" for digit in "123")
    directories = Directories(tmp_path)
    for name in (known, empty, full):
        directories.make(name)
    (tmp_path / full / "file").touch()
    (tmp_path / f".removing-{known}").mkdir()
    (tmp_path / "mine").mkdir()
    directories.sweep({known})
    assert {path.name for path in tmp_path.iterdir()} == {known, full, "mine"}
