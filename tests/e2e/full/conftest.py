"""`examples/xingcheng-full` on a real node, as its files are: one city for these modules."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from stacks.platforms import tls
from stacks.platforms.application.identity.access import CITY_REALM, FUNCTIONS
from tests.attack.identity.browser import Browser
from tests.docs.blocks import ROOT
from tests.e2e.files import CityFiles, read
from tests.e2e.machine import Cluster, Machine, machine
from tests.support.real_node import require_real_node
from wecityctl.local.node.network import Block

EXAMPLE = ROOT / "examples" / "xingcheng-full"
NAME = EXAMPLE.name
APPLICATION = "platform-application"
IDENTITY = f"identity.{APPLICATION}.svc.cluster.local"

# What an administrator does in Keycloak: add a person to groups of the city's realm. It runs in the server's own pod,
# whose certificate has the name of its Service.
ADD_PERSON = f"""HOST={IDENTITY} PORT=$KC_HTTPS_PORT AUTHORITY={tls.AUTHORITY}
ADMIN_PASSWORD=$KC_BOOTSTRAP_ADMIN_PASSWORD
{FUNCTIONS}
curl() {{ command curl --connect-to "::127.0.0.1:$PORT" "$@"; }}
sign_in
printf %s "$PERSON" > body
call POST "admin/realms/{CITY_REALM}/users" 201
"""


@dataclass(frozen=True)
class Person:
    """Somebody who has an account in the city's realm."""

    name: str
    password: str


@dataclass(frozen=True)
class Entry:
    """The entry point, as people reach it."""

    address: str
    port: int
    domain: str
    authority: str

    def url(self, host: str, path: str = "/") -> str:
        return f"https://{host}.{self.domain}:{self.port}{path}"

    def browser(self) -> Browser:
        return Browser(self.port, self.authority, address=self.address)


@pytest.fixture(scope="package")
def home() -> Iterator[Machine]:
    """The machine on which the city is."""
    with machine() as made:
        yield made


@pytest.fixture(scope="package")
def city(home: Machine) -> CityFiles:
    """The example, brought up by one command."""
    require_real_node()
    place = home.root / NAME
    shutil.copytree(EXAMPLE, place)
    home.run("up", place, "--yes", timeout=900)
    return read(place)


@pytest.fixture(scope="package")
def cluster(home: Machine, city: CityFiles) -> Cluster:
    return Cluster(home.state / "clouds" / f"{NAME}-main" / "kubeconfig")


@pytest.fixture(scope="package")
def entry(home: Machine, city: CityFiles) -> Entry:
    found = home.run("outputs", city, "--stack", "entry", "-o", "json").json()["outputs"][f"{NAME}.entry"]
    held = json.loads((home.state / "clouds" / f"{NAME}-main" / "node" / "hold.json").read_text())
    return Entry(Block.parse(held["block"]).node_ip, found["node_port"], found["domain"], found["authority"])


@pytest.fixture(scope="package")
def alice(cluster: Cluster) -> Person:
    """A doctor who also works for the transport bureau."""
    person = Person("alice", "a-long-pass-phrase")
    body: dict[str, Any] = {
        "username": person.name,
        "enabled": True,
        "credentials": [{"type": "password", "value": person.password}],
        "groups": ["/health-commission", "/transport-bureau"],
        "firstName": "Alice",
        "lastName": "Li",
        "email": "alice@xingcheng.gov.example",
        "emailVerified": True,
    }
    given = f"PERSON={json.dumps(body)}"
    cluster.kubectl("exec", "-n", APPLICATION, "identity-0", "--", "env", given, "sh", "-c", ADD_PERSON)
    return person
