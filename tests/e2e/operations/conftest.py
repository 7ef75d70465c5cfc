"""`examples/xingcheng-operations` on a real node, with two tenants more: one city for these modules."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.docs.blocks import ROOT
from tests.e2e.files import CityFiles, app, document, read
from tests.e2e.machine import Cluster, Machine, machine
from tests.e2e.operations.webhook import Webhook, webhook
from tests.support.pki import Authority
from tests.support.real_node import require_real_node
from tests.support.s3_server import S3Server, s3_server
from wecityctl.local.node.layout import Held
from wecityctl.local.node.network import Block

EXAMPLE = ROOT / "examples" / "xingcheng-operations"
NAME = EXAMPLE.name
DATABASE = {"capability": "postgresql", "as": "db"}
LOGS = {"capability": "logs", "as": "logs"}
REGISTRY = {"capability": "registry", "as": "images", "storage": "1Gi"}


@pytest.fixture(scope="package")
def home() -> Iterator[Machine]:
    """The machine on which the city is."""
    with machine() as made:
        yield made


@pytest.fixture(scope="package")
def bare(home: Machine) -> CityFiles:
    """The files of the example with a registry and two more tenants, and its cloud with a node that is up.

    Where its alerts and backups go to is not there: `sink` and `target` say another place.
    """
    require_real_node()
    city = CityFiles(home.root / NAME, read(EXAMPLE).files)
    example = next(city.documents("City"))["spec"]
    del example["alerts"], example["compliance"]["backup"], city.one("Tenant", "transport-bureau")["spec"]["alerts"]
    city.one("Platform", "operations")["spec"]["capabilities"].append({"name": "registry", "storage": "4Gi"})
    quota = {"cpu": "2", "memory": "4Gi", "storage": "10Gi"}
    for tenant in ("parks", "roads"):
        title = {"title": tenant, "area": "digital-government", "quota": quota}
        watched = app(f"{tenant}-app", tenant, uses=(DATABASE, "metrics", "vault", LOGS, REGISTRY))
        # All pods end before new ones start, so that a broken version is down.
        watched["spec"]["components"][0] |= {"metrics": {}, "strategy": {"type": "recreate"}}
        city.files[f"{tenant}.yaml"] = [document("Tenant", tenant, title), watched]
    city.save()
    home.run("up", city, "--yes", "--only", "base", timeout=900)
    return city


@dataclass(frozen=True)
class Node:
    """The node as a place for servers outside of the cluster: the process that holds its namespaces, its address."""

    pid: int
    address: str


@pytest.fixture(scope="package")
def node(home: Machine, bare: CityFiles) -> Node:
    spec = json.loads((home.state / "clouds" / f"{NAME}-main" / "node" / "hold.json").read_text())
    held = Held.load(Path(spec["run"]) / "node.json")
    assert held is not None
    return Node(held.pid, Block.parse(spec["block"]).node_ip)


@pytest.fixture(scope="package")
def sink(bare: CityFiles, node: Node, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Webhook]:
    """Where alerts are sent: those of the tenant `parks` to `/parks`, all to `/city`."""
    with webhook(tmp_path_factory.mktemp("webhook"), node.pid, node.address) as server:
        bare.one("Tenant", "parks")["spec"]["alerts"] = {"webhook": f"{server.outside}/parks"}
        next(bare.documents("City"))["spec"]["alerts"] = {"webhook": f"{server.url}/city"}
        bare.save()
        yield server


@dataclass(frozen=True)
class Target:
    """Where backups go, and the certificate of its authority."""

    server: S3Server
    authority: str

    def give_secrets(self, home: Machine, city: CityFiles) -> None:
        """Set the secrets that the City names for backups."""
        keys = f"{self.server.access}:{self.server.secret}"
        values = {"backup-keys": keys, "backup-password": "a password of the tests", "backup-authority": self.authority}
        for name, value in values.items():
            home.run("secrets", "set", city, name, stdin=value)


@pytest.fixture(scope="package")
def target(home: Machine, bare: CityFiles, node: Node, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    """An S3 server that stands for the other region: on the node, which is outside the cluster for pods."""
    authority = Authority()
    pair = authority.server(addresses=(node.address,))
    with s3_server(tmp_path_factory.mktemp("region"), "backups", node=(node.pid, node.address), tls=pair) as server:
        backup = {
            "target": "s3://backups/hunan",
            "region": "cn-hubei",
            "endpoint": f"https://{node.address}:{server.port}",
            "addresses": [f"{node.address}/32"],
            "credentials": "backup-keys",
            "password": "backup-password",
            "authority": "backup-authority",
        }
        next(bare.documents("City"))["spec"]["compliance"]["backup"] = backup
        bare.save()
        found = Target(server, authority.cert.decode())
        found.give_secrets(home, bare)
        yield found


@pytest.fixture(scope="package")
def city(home: Machine, bare: CityFiles, sink: Webhook, target: Target) -> CityFiles:
    """The city, brought up."""
    home.run("up", bare, "--yes", timeout=900)
    return bare


@pytest.fixture(scope="package")
def cluster(home: Machine, bare: CityFiles) -> Cluster:
    return Cluster(home.state / "clouds" / f"{NAME}-main" / "kubeconfig")
