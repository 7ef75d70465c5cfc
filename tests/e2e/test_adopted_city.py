"""A city on a cluster that was there before, its state in a shared directory: two machines, wrong access, locks.

The tests follow each other in this order.
"""

from __future__ import annotations

import base64
import json
import os
import stat
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.x509.oid import ExtendedKeyUsageOID

from tests.e2e.files import CityFiles, app, document, hamlet, tenant
from tests.e2e.machine import Cluster, Done, Machine, machine, objects_in_state
from tests.support.some import some
from wecityctl.engine.state.kernel_locks import KernelLocks
from wecityctl.engine.state.run_locks import RunLocks
from wecityctl.engine.state.store_file import FileStore
from wecityctl.model.naming import SIMULATED_LABEL

pytestmark = pytest.mark.cluster

NAME = "port"
PASSPHRASE = "the lighthouse keeper's cat"
TENANT = f"{NAME}.tenant.parks.main"
SHARE = 24 << 20
ROLE = Path(__file__).parents[2] / "docs/reference/operator-role.yaml"


@dataclass(frozen=True, slots=True)
class Port:
    """The city with its two administrators' machines; `backend` is what both share."""

    one: Machine
    two: Machine
    files: CityFiles
    backend: Path
    cluster: Cluster

    def elsewhere(self, name: str, **settings: str) -> CityFiles:
        """The same city, reached by other settings of its cloud."""
        changed = self.files.copy(self.one.root / name)
        changed.cloud["spec"]["kubernetes"] |= settings
        return changed.save()

    def access(self, name: str, **user: str) -> Path:
        """The cluster's kubeconfig with parts of its user or its server replaced."""
        config = yaml.safe_load(self.cluster.kubeconfig.read_text())
        if "server" in user:
            config["clusters"][0]["cluster"]["server"] = user.pop("server")
        config["users"][0]["user"] |= user
        path = self.one.root / f"{name}.kubeconfig"
        path.write_text(yaml.safe_dump(config))
        path.chmod(0o600)
        return path


@pytest.fixture(scope="module")
def cluster(home: Machine) -> Cluster:
    """An embedded cloud that plays a cluster of somebody else's: its nodes take anybody's pods."""
    home.run("local", "start", "--name", "lab", "--nodes", "simulated")
    found = Cluster(home.state / "clouds" / "lab" / "kubeconfig")
    found.kubectl("taint", "nodes", "--all", f"{SIMULATED_LABEL}-")
    return found


@pytest.fixture(scope="module")
def backend(home: Machine) -> Iterator[Path]:
    """A directory that two machines share; with root it is a small file system of its own, which can be filled."""
    place = home.root / "share"
    place.mkdir(mode=0o700)
    if os.geteuid() == 0:
        options = f"size={SHARE},mode=0700"
        subprocess.run(["mount", "-t", "tmpfs", "-o", options, "wecity-e2e", str(place)], check=True)
    try:
        yield place
    finally:
        if os.geteuid() == 0:
            subprocess.run(["umount", "-l", str(place)], check=True)


def _operator(cluster: Cluster, path: Path) -> Path:
    """A kubeconfig of somebody with the listed rights, with which all that follows is done."""
    cluster.kubectl("apply", "-f", str(ROLE))
    cluster.kubectl("create", "serviceaccount", "operator", "-n", "default")
    bound = ("--clusterrole=wecityctl", "--serviceaccount=default:operator")
    cluster.kubectl("create", "clusterrolebinding", "wecityctl", *bound)
    config = yaml.safe_load(cluster.kubeconfig.read_text())
    token = cluster.kubectl("create", "token", "operator", "-n", "default", "--duration=24h").strip()
    config["users"][0]["user"] = {"token": token}
    path.write_text(yaml.safe_dump(config))
    path.chmod(0o600)
    return path


@pytest.fixture(scope="module")
def port(home: Machine, cluster: Cluster, backend: Path) -> Iterator[Port]:
    operator = _operator(cluster, home.root / "operator.kubeconfig")
    cloud = {"provider": "kubernetes", "kubernetes": {"kubeconfig": str(operator)}}
    files = hamlet(home.root / "city", NAME, cloud, backend=f"file://{backend}")
    with machine(PASSPHRASE) as one, machine(PASSPHRASE) as two:
        yield Port(one, two, files, backend, cluster)


def test_the_first_machine_brings_the_city_up_on_the_adopted_cluster(port: Port) -> None:
    port.one.run("up", port.files, "--yes")
    in_state = objects_in_state(port.backend, NAME)
    assert len(in_state) > 30
    assert set(in_state) == port.cluster.objects_of(NAME)


def test_a_second_machine_with_the_passphrase_sees_no_change(port: Port) -> None:
    assert not port.two.state.exists()
    assert "nothing to change" in port.two.run("preview", port.files, "--detailed-exitcode").out
    assert "nothing to change" in port.two.run("up", port.files, "--yes").out
    statuses = [each.run("status", port.files, "-o", "json").json() for each in (port.one, port.two)]
    assert statuses[0] == statuses[1]


def test_what_the_second_machine_changes_the_first_one_sees(port: Port) -> None:
    port.files.component("parks-app")["replicas"] = 2
    port.files.save()
    assert port.two.run("up", port.files, "--yes", "-o", "json").changes() == {
        "update Deployment parks-internet/parks-app-web",
        "create PodDisruptionBudget parks-internet/parks-app-web",
    }
    assert "nothing to change" in port.one.run("preview", port.files, "--detailed-exitcode").out


def test_the_shared_state_is_private_and_has_no_secret_in_clear(port: Port) -> None:
    paths = list(port.backend.rglob("*"))
    assert len(paths) > 10
    assert [str(path) for path in paths if stat.S_IMODE(path.stat().st_mode) & 0o077] == []
    secrets = port.cluster.get("secrets", "-A", "-l", f"wecity.dev/city={NAME}")["items"]
    values = {
        base64.b64decode(item["data"][key]) for item in secrets for key in ("password", "uri") if key in item["data"]
    }
    assert len(values) >= 3
    texts = [path.read_bytes() for path in paths if path.is_file()]
    assert not [text for text in texts for value in values if value in text]
    assert not [text for text in texts if PASSPHRASE.encode() in text]


@pytest.mark.parametrize(
    ("command", "options"),
    [
        ("preview", ("--parallelism=2",)),
        # An `up` that leaves everything out after a look at the cluster opens nothing of the state.
        ("up", ("--yes", "--no-skip")),
        ("destroy", (f"--confirm={NAME}",)),
    ],
)
def test_a_wrong_or_missing_passphrase_is_refused_and_changes_nothing(
    port: Port, command: str, options: tuple[str, ...]
) -> None:
    before = snapshot(port.backend)
    stranger = Machine(port.two.root)
    missing = stranger.run(command, port.files, *options, code=3)
    assert "PULUMI_CONFIG_PASSPHRASE" in missing.err
    assert "→" in missing.err
    wrong = stranger.run(command, port.files, *options, code=3, env={"PULUMI_CONFIG_PASSPHRASE": "guessed"})
    assert "passphrase" in wrong.err
    assert snapshot(port.backend) == before


def snapshot(directory: Path) -> dict[str, bytes]:
    """The content of every state."""
    return {path.name: path.read_bytes() for path in (directory / ".pulumi" / "stacks").rglob("*.json")}


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"kubeconfig": "/nonexistent/kubeconfig"}, "/nonexistent/kubeconfig"),
        ({"context": "nowhere"}, "nowhere"),
    ],
)
def test_a_kubeconfig_that_does_not_fit_is_a_mistake_of_configuration(
    port: Port, settings: dict[str, str], told: str
) -> None:
    for command in (("preview",), ("up", "--yes")):
        assert told in port.one.run(*command, port.elsewhere("wrong", **settings), code=2).err


def test_a_kubeconfig_that_is_no_kubeconfig_is_a_mistake_of_configuration(port: Port) -> None:
    path = port.one.root / "broken.kubeconfig"
    path.write_text("clusters: [}\n")
    assert str(path) in port.one.run("up", port.elsewhere("wrong", kubeconfig=str(path)), "--yes", code=2).err


def test_an_expired_certificate_is_a_matter_of_authentication(port: Port, home: Machine) -> None:
    expired = expired_certificate(home.state / "clouds" / "lab" / "pki")
    path = port.access("expired", **{"client-certificate-data": base64.b64encode(expired).decode()})
    for command in (("preview",), ("up", "--yes")):
        done = port.one.run(*command, port.elsewhere("expired", kubeconfig=str(path)), code=3)
        assert "expired" in done.err
        assert "→" in done.err


def expired_certificate(pki: Path) -> bytes:
    """The administrator's certificate, issued again by the cluster's own authority for a day long gone."""
    authority = x509.load_pem_x509_certificate((pki / "ca.crt").read_bytes())
    key = serialization.load_pem_private_key((pki / "ca.key").read_bytes(), None)
    old = x509.load_pem_x509_certificate((pki / "admin.crt").read_bytes())
    now = datetime.now(UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(old.subject)
        .issuer_name(authority.subject)
        .public_key(old.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=3))
        .not_valid_after(now - timedelta(days=2))
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
    )
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)  # type: ignore[arg-type]


def test_a_server_that_does_not_answer_is_told_in_bounded_time(port: Port) -> None:
    nobody = "https://127.0.0.1:9"
    files = port.elsewhere("away", kubeconfig=str(port.access("away", server=nobody)))
    before, begun = snapshot(port.backend), time.monotonic()
    done = port.one.run("up", files, "--yes", code=4, timeout=90)
    assert "127.0.0.1:9" in done.err
    assert time.monotonic() - begun < 60
    assert snapshot(port.backend) == before


@contextmanager
def changed(port: Port, season: str) -> Iterator[None]:
    """A change in the files that has to be carried out."""
    port.files.component("parks-app")["env"] = {"SEASON": season}
    port.files.save()
    yield


def test_a_run_while_another_run_changes_the_city_says_who(port: Port) -> None:
    locks = RunLocks(KernelLocks(FileStore(port.backend)), NAME)
    locks.wait({NAME: True})
    with changed(port, "summer"), closing(locks):
        done = port.two.run("up", port.files, "--yes", code=1)
        assert f"another run is changing {NAME}" in done.err
        assert "process" in done.err
    assert port.two.run("up", port.files, "--yes", "-o", "json").changes() == {
        "update Deployment parks-internet/parks-app-web"
    }


def test_a_state_that_somebody_else_has_locked_is_left_alone_until_unlock(port: Port) -> None:
    lock = port.backend / ".pulumi" / "locks" / "organization" / "wecity" / TENANT / "1f0c.json"
    lock.parent.mkdir(parents=True, exist_ok=True)
    owner = {"pid": 4711, "username": "alice", "hostname": "harbour-office", "timestamp": "2026-01-05T08:00:00Z"}
    lock.write_text(json.dumps(owner))
    with changed(port, "autumn"):
        refused = port.two.run("up", port.files, "--yes", code=None)
        assert refused.code in (1, 4), refused
        assert "alice" in refused.text
        assert "harbour-office" in refused.text
        assert "unlock" in refused.text
        assert "--yes" in port.two.run("unlock", port.files, TENANT, code=2).err
        assert lock.exists()
        assert "alice" in port.two.run("unlock", port.files, TENANT, "--yes").out
        assert not lock.exists()
        assert "there are no locks" in port.two.run("unlock", port.files).err
    port.two.run("up", port.files, "--yes")


@pytest.mark.skipif(os.geteuid() != 0, reason="a file system that can be filled needs root")
def test_a_full_disk_is_told_and_the_state_stays_whole(port: Port) -> None:
    filler = port.backend / "filler"
    with changed(port, "winter"):
        fill(filler)
        done = port.one.run("up", port.files, "--yes", code=None)
        assert done.code in (1, 4), done
        assert "no space left" in done.text.lower() or "disk is full" in done.text.lower(), done
        filler.unlink()
        assert all(json.loads(text) for text in some(snapshot(port.backend).values()))
        again: Done = port.one.run("up", port.files, "--yes", "-o", "json")
        assert again.changes() <= {"update Deployment parks-internet/parks-app-web"}
    port.one.run("preview", port.files, "--detailed-exitcode")
    assert set(objects_in_state(port.backend, NAME)) == port.cluster.objects_of(NAME)


def fill(path: Path) -> None:
    """Leave not one block to write to."""
    with path.open("wb", buffering=0) as stream:
        for size in (1 << 20, 1 << 12):
            try:
                while stream.write(b"\0" * size) == size:
                    pass
            except OSError:
                continue


def test_one_cloud_that_is_away_does_not_stop_the_other(port: Port) -> None:
    two = port.files.copy(port.one.root / "two-clouds")
    next(two.documents("City"))["spec"]["zones"].append({"name": "extranet", "kind": "government-extranet"})
    away = port.access("away", server="https://127.0.0.1:9")
    far = {"provider": "kubernetes", "kubernetes": {"kubeconfig": str(away)}, "zones": ["extranet"]}
    island = app("beacon", "island")
    island["spec"]["zone"] = "extranet"
    # The entry point is on the other cloud, and leads into no extranet there.
    del island["spec"]["route"]
    two.add("island.yaml", document("Cloud", "far", far), tenant("island"), island)
    two.component("parks-app")["env"] = {"SEASON": "spring"}
    two.save()
    report = port.one.root / "report.json"
    done = port.one.run("up", two, "--yes", "--report-file", report, code=4)
    outcomes = {item["stack"]: item for item in json.loads(report.read_text())["stacks"]}
    assert outcomes[TENANT]["outcome"] == "succeeded"
    for stack in (f"{NAME}.base.far", f"{NAME}.tenant.island.far"):
        assert outcomes[stack]["outcome"] in ("failed", "blocked")
    assert "127.0.0.1:9" in outcomes[f"{NAME}.base.far"]["reason"]
    assert "127.0.0.1:9" in done.text
    unreachable = port.one.run("status", two, "-o", "json", code=4).json()["unreachable"]
    assert list(unreachable) == ["far"]
    port.one.run("up", port.files, "--yes", f"--confirm={NAME}")


def test_either_machine_can_take_the_city_down(port: Port) -> None:
    port.two.run("destroy", port.files, f"--confirm={NAME}", "--delete-data")
    assert port.cluster.objects_of(NAME) == set()
    port.one.run("outputs", port.files, code=6)
