"""An app that is retired: after its leftovers are deleted, a look into each capability finds nothing by its name."""

from __future__ import annotations

import base64
import re
from typing import Any

import pytest

from tests.e2e.files import CityFiles
from tests.e2e.machine import Cluster, Machine

pytestmark = [pytest.mark.node, pytest.mark.timeout(1200)]

TENANT, APP = "transport-bureau", "bus-arrival"
# As the types write it: in names of roles, of accounts and of paths.
NAMES = "bus[-_.]arrival"
DUMP = "/usr/lib/postgresql/15/bin/pg_dumpall"


def inside(cluster: Cluster, platform: str, pod: str, *command: str) -> str:
    """What a command prints in a capability's server."""
    place = ("exec", "-n", f"platform-{platform}", f"{pod}-0", "-c", "access" if pod == "metrics" else pod, "--")
    return cluster.kubectl(*place, *command)


def kept(cluster: Cluster) -> dict[str, str]:
    """What each server keeps about accounts, as text. Those of the vault are encrypted: it is asked, by `leftovers`."""
    secret = cluster.get("secret", "postgresql-admin", "-n", "platform-application")
    password = base64.b64decode(secret["data"]["password"]).decode()
    dump = ("env", f"PGPASSWORD={password}", DUMP, "-h", "127.0.0.1", "-U", "postgres")
    return {
        "postgresql": inside(cluster, "application", "postgresql", *dump),
        "metrics": inside(cluster, "operations", "metrics", "/bin/sh", "-c", "cat /data/accounts/*.json"),
        "logs": inside(cluster, "operations", "logs", "cat", "/data/accounts.json"),
    }


def listed(home: Machine, city: CityFiles) -> dict[str, Any]:
    found = home.run("leftovers", "list", city, "-o", "json").json()["leftovers"]
    return {item["name"]: item for item in found if item["owner"].startswith(f"{TENANT}/{APP}/")}


def test_nothing_of_a_retired_app_is_left(home: Machine, city: CityFiles, cluster: Cluster) -> None:
    before = kept(cluster)
    assert all(re.search(NAMES, text) for text in before.values()), before
    city.remove("App", APP)
    home.run("up", city.save(), "--yes", f"--confirm={city.name}")
    left = listed(home, city)
    assert {name.partition("/")[0] for name in left} == {"postgresql", "vault", "metrics", "logs"}
    assert all(item["locked"] for item in left.values())
    home.run("leftovers", "delete", city, *left, f"--confirm={city.name}")
    assert listed(home, city) == {}
    # Other tenants' accounts are still there, so these are the right places to look.
    for capability, text in kept(cluster).items():
        assert "parks" in text, capability
        assert not re.search(NAMES, text), capability
    kinds = "deploy,statefulset,cronjob,job,service,configmap,secret,serviceaccount,networkpolicy,role,rolebinding,pvc"
    names = cluster.kubectl("get", kinds, "-A", "-o", "name").splitlines()
    assert any("parks-app" in name for name in names)
    assert [name for name in names if re.search(NAMES, name)] == []
