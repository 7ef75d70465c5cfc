"""Departments that deploy themselves: on an adopted cluster, each with a user of its own who may deploy its tenant.

What they may do is done, side by side; all else is tried with the same credentials. The tests follow each other.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.e2e.files import CityFiles, app, hamlet
from tests.e2e.machine import Cluster, Machine, machine, objects_in_state
from wecityctl.local.simulated.nodes import SIMULATED

pytestmark = pytest.mark.cluster

NAME = "quay"
PASSPHRASE = "two keepers, one lighthouse"
ROLE = Path(__file__).parents[2] / "docs/reference/operator-role.yaml"
TENANTS = ("parks", "library")
ACCOUNT = "system:serviceaccount:default:{}-ci"


@dataclass(frozen=True, slots=True)
class Quay:
    """The city; `files` are the operator's, `of` a tenant's deployer's: the same but for the kubeconfig."""

    operator: Machine
    files: CityFiles
    cluster: Cluster
    backend: Path
    desks: dict[str, Machine]

    def of(self, tenant: str) -> CityFiles:
        """The files as the deployer of a tenant has them checked out."""
        copied = self.files.copy(self.operator.root / f"{tenant}-city")
        copied.cloud["spec"]["kubernetes"] = {"kubeconfig": str(self.kubeconfig(tenant))}
        return copied.save()

    def kubeconfig(self, who: str) -> Path:
        return self.operator.root / f"{who}.kubeconfig"

    def kubectl(self, tenant: str) -> Cluster:
        """kubectl with a deployer's credentials."""
        return Cluster(self.kubeconfig(tenant))

    def states(self) -> dict[str, bytes]:
        """The state of every stack, as it is stored."""
        return {path.name: path.read_bytes() for path in (self.backend / ".pulumi" / "stacks").rglob("*.json")}


def _credentials(cluster: Cluster, account: str, path: Path) -> Path:
    """The kubeconfig of a service account, which stands for a user of the cluster's sign-in."""
    cluster.kubectl("create", "serviceaccount", account, "-n", "default")
    config = yaml.safe_load(cluster.kubeconfig.read_text())
    token = cluster.kubectl("create", "token", account, "-n", "default", "--duration=24h").strip()
    config["users"][0]["user"] = {"token": token}
    path.write_text(yaml.safe_dump(config))
    path.chmod(0o600)
    return path


@pytest.fixture(scope="module")
def quay(home: Machine) -> Iterator[Quay]:
    home.run("local", "start", "--name", "lab", "--nodes", "simulated")
    cluster = Cluster(home.state / "clouds" / "lab" / "kubeconfig")
    cluster.kubectl("taint", "nodes", "--all", f"{SIMULATED}-")
    cluster.kubectl("apply", "-f", str(ROLE))
    bound = ("--clusterrole=wecityctl", "--serviceaccount=default:operator")
    cluster.kubectl("create", "clusterrolebinding", "wecityctl", *bound)
    with machine(PASSPHRASE) as operator, machine(PASSPHRASE) as parks, machine(PASSPHRASE) as library:
        access = _credentials(cluster, "operator", operator.root / "operator.kubeconfig")
        for tenant in TENANTS:
            _credentials(cluster, f"{tenant}-ci", operator.root / f"{tenant}.kubeconfig")
        backend = operator.root / "share"
        cloud = {"provider": "kubernetes", "kubernetes": {"kubeconfig": str(access)}}
        files = hamlet(operator.root / "city", NAME, cloud, backend=f"file://{backend}", tenants=TENANTS)
        for tenant in TENANTS:
            files.one("Tenant", tenant)["spec"]["deployers"] = [ACCOUNT.format(tenant)]
        yield Quay(operator, files.save(), cluster, backend, {"parks": parks, "library": library})


def test_the_operator_brings_the_city_up_with_its_deployers(quay: Quay) -> None:
    quay.operator.run("up", quay.files, "--yes")
    assert set(objects_in_state(quay.backend, NAME)) == quay.cluster.objects_of(NAME)
    assert "nothing to change" in quay.operator.run("preview", quay.files, "--detailed-exitcode").out


def test_a_deployer_changes_an_app_and_makes_one(quay: Quay) -> None:
    quay.files.component("parks-app")["env"] = {"SEASON": "summer"}
    quay.files.add("parks.yaml", app("ponds", "parks"))
    quay.files.save()
    done = quay.desks["parks"].run("up", quay.of("parks"), "--only", "parks", "--yes", "-o", "json")
    assert "update Deployment parks-internet/parks-app-web" in done.changes()
    assert "create Deployment parks-internet/ponds-web" in done.changes()
    assert done.stack("tenant.parks.main")["outcome"] == "succeeded"
    assert done.stack("base.main")["outcome"] == "skipped"
    again = quay.desks["parks"].run("up", quay.of("parks"), "--only", "parks", "--yes")
    assert "nothing to change" in again.out
