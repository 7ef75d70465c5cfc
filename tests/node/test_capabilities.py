"""What the machine is asked, and that the asking leaves nothing."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.some import some
from wecityctl.errors import DeploymentError
from wecityctl.local.node import capabilities, driver, machine, network, nft
from wecityctl.local.node.capabilities import Finding, probe

_as_root = pytest.mark.skipif(os.geteuid() != 0, reason="making namespaces needs root")


def _interfaces() -> set[str]:
    return {path.name for path in Path("/sys/class/net").iterdir()}


def _groups() -> set[str]:
    return {
        str(path) for pattern in ("wecity-probe-*", "*/wecity-probe-*") for path in Path("/sys/fs/cgroup").glob(pattern)
    }


@_as_root
def test_probe_leaves_nothing() -> None:
    before = _interfaces(), _groups()
    findings = probe()
    assert (_interfaces(), _groups()) == before
    assert all(finding.ok or finding.remedy for finding in some(findings)), "what is lacking can be mended"
    assert len({finding.name for finding in findings}) == len(findings)


def test_probe_without_root_asks_for_root_alone() -> None:
    script = (
        "import os; os.setuid(65534)\n"
        "from wecityctl.local.node.capabilities import probe\n"
        "print([f.name for f in probe() if not f.ok])"
    )
    if os.geteuid() != 0:
        script = script.partition("\n")[2]
    # Imported before the rights are given up: the checkout may be closed to others.
    script = "import wecityctl.local.node.capabilities\n" + script
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=30, check=True)
    assert done.stdout.strip() == "['user']"


def test_driver_refuses_with_remedies(monkeypatch: pytest.MonkeyPatch) -> None:
    findings = (
        Finding("nftables", False, "refused", "modprobe nf_tables"),
        Finding("overlayfs", False, "no", "modprobe overlay", required=False),
    )
    monkeypatch.setattr(capabilities, "probe", lambda: findings)
    with pytest.raises(DeploymentError, match="this machine cannot run a real node") as caught:
        driver.driver().check()
    assert caught.value.details == "nftables: refused"
    assert "modprobe nf_tables" in caught.value.resolution and "simulated" in caught.value.resolution


@_as_root
def test_runc_without_seccomp_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ours = {each.name: each for each in probe()}["runc"]
    assert ours.ok and ours.detail.endswith("with seccomp"), ours

    other = tmp_path / "runc"
    other.write_text('#!/bin/sh\necho \'{"linux": {"seccomp": {"enabled": false}}}\'\n')
    other.chmod(0o755)
    monkeypatch.setattr(capabilities, "locate", lambda name: other)
    found = {each.name: each for each in probe()}["runc"]
    assert not found.ok and found.required and "without seccomp" in found.detail

    other.write_text("#!/bin/sh\necho unknown command >&2\nexit 1\n")
    found = {each.name: each for each in probe()}["runc"]
    assert not found.ok and "does not tell its features" in found.detail


@_as_root
def test_base_ruleset_is_accepted_and_replaced_atomically() -> None:
    far = nft.Neighbour("wcx-0a1b2c3d", network.Block.parse("198.18.16.0/21"), (30010, 30011), (30020,))
    rules = nft.base_ruleset(network.Block.parse("198.18.8.0/21"), 6443, [far])
    script = "nft -f - <<'E'\n" + rules + rules + "E\nnft list table inet wecity-base"
    done = subprocess.run(["unshare", "--net", "sh", "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.count("chain forward") == 1


def test_watches_are_counted_and_given_back() -> None:
    descriptors = len(list(Path("/proc/self/fd").iterdir()))
    assert 0 <= machine.free_watches(5) <= 5
    assert len(list(Path("/proc/self/fd").iterdir())) == descriptors


def test_no_watches_left_is_said_before_anything_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "free_watches", lambda wanted: 3)
    finding = capabilities.watches()
    assert not finding.ok and "3" in finding.detail and "fs.inotify.max_user_instances" in finding.remedy
