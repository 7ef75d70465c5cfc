"""The proof that data comes back: written, backed up, destroyed with its city, restored elsewhere, and read by its app.

It takes minutes, so it runs only if something of a type has changed since it passed, and then writes the records of
such types (`stacks/platforms/restores.json`), which belong into the commit. `tests/stacks/test_restores.py` fails
without. It leaves another city than it found: it is the last of this package, by its name.
"""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from stacks.platforms import restores
from tests.e2e.county import test_iot as mqtt
from tests.e2e.county import test_messaging as messaging
from tests.e2e.county.test_object_storage import CLIENT
from tests.e2e.files import CityFiles, document
from tests.e2e.machine import Cluster, Machine, eventually
from tests.e2e.operations.conftest import LOGS, REGISTRY, Target
from tests.e2e.operations.test_logs import found, word, write
from tests.e2e.operations.test_registry import bound, push_as, run_pod, state_of, variant
from wecityctl import oci

pytestmark = [pytest.mark.node, pytest.mark.timeout(1800)]

# The platform of each type, and the alias under which the app has it.
TYPES = {
    "postgresql": ("application", "db"),
    "cache": ("application", "store"),
    "messaging": ("application", "events"),
    "object-storage": ("data", "files"),
    "iot": ("data", "iot"),
}
# What is backed up as a whole opens only with the city's secrets, so it is restored into the same instance.
WHOLE = {"vault": "keys"}
# What is of all tenants, and is restored beside what was written since the loss. The app reads it by these uses.
STORES = {"metrics": {"capability": "metrics", "as": "metrics"}, "logs": LOGS, "registry": REGISTRY}
STALE = [name for name in (*TYPES, *WHOLE, *STORES) if restores.proof_of(name) is None]
HOW = "into an empty instance in another namespace, after its city was destroyed with all data"
HOW_WHOLE = "into an empty instance with the secrets that came back from the target, after its city was destroyed"
HOW_STORES = "into a new instance, beside what was written since its city was destroyed with all data"

# Run in the app's container: writes or reads an entry of its store, by its own binding.
VAULT = """
import json, os, ssl, sys, urllib.request
place = os.environ['SERVICE_BINDING_ROOT'] + '/keys/'
read = lambda name: open(place + name).read()
context = ssl.create_default_context(cafile=place + 'ca.crt') if read('uri').startswith('https') else None
def call(method, path, body=None, token=''):
    data = json.dumps(body).encode() if body is not None else None
    request = urllib.request.Request(read('uri') + '/v1/' + path, data, {'X-Vault-Token': token}, method=method)
    with urllib.request.urlopen(request, timeout=20, context=context) as answer:
        return json.loads(answer.read())
roles = {'role_id': read('role-id'), 'secret_id': read('secret-id')}
token = call('POST', 'auth/approle/login', roles)['auth']['client_token']
body = {'data': {'value': sys.argv[2]}} if sys.argv[1] == 'POST' else None
print(json.dumps(call(sys.argv[1], read('path') + '/data/lost', body, token)['data']))
"""


def ask(cluster: Cluster, *words: str) -> Any:
    """What a command in the app's container prints, as JSON."""
    return json.loads(cluster.kubectl("exec", "-n", "parks-internet", "deploy/parks-app-web", "--", *words))


def sql(cluster: Cluster, statement: str) -> Any:
    return ask(cluster, "python3", "-m", "sample_app.check", "postgresql", statement)["rows"]


def cache(cluster: Cluster, *words: str) -> Any:
    return ask(cluster, "python3", "-m", "sample_app.check", "cache", *words)["answer"]


def files(cluster: Cluster, *requests: str) -> Any:
    return ask(cluster, "python3", "-c", CLIENT, *requests)


def streams(cluster: Cluster, *requests: str) -> Any:
    return ask(cluster, "python3", "-c", messaging.CLIENT, *requests)


def iot(cluster: Cluster, *words: str) -> Any:
    return ask(cluster, "python3", "-c", mqtt.CLIENT, *words)


def entry(cluster: Cluster, *words: str) -> Any:
    """What the vault answers of an entry in the app's store."""
    return ask(cluster, "python3", "-c", VAULT, *words)


def used(home: Machine, city: CityFiles, period: tuple[datetime, datetime]) -> dict[str, Any] | None:
    """What the app has used in a period, once that was counted."""
    begin, end = (at.strftime("%Y-%m-%dT%H:%M:%SZ") for at in period)
    rows = home.run("usage", city, "--by", "app", "--from", begin, "--to", end, "-o", "json").json()["rows"]
    return next((row for row in rows if row["app"] == "parks-app" and row["pod_hours"]), None)


def sampled(home: Machine, city: CityFiles, begin: datetime) -> tuple[datetime, datetime] | None:
    """A period from `begin` in which the app's use was counted: a sample a minute, until which all have come."""
    period = (begin, datetime.now(UTC) - timedelta(seconds=45))
    return period if used(home, city, period) else None


def prefix(cluster: Cluster) -> str:
    """The beginning of the app's keys."""
    read = "import os, json; print(json.dumps(open(os.environ['SERVICE_BINDING_ROOT'] + '/store/prefix').read()))"
    return str(ask(cluster, "python3", "-c", read))


@pytest.mark.skipif(not STALE, reason="nothing has changed since restoring each type was proved")
def test_data_comes_back_elsewhere_after_everything_was_lost(
    home: Machine, city: CityFiles, cluster: Cluster, target: Target, tmp_path: Path
) -> None:
    city.one("Platform", "application")["spec"]["capabilities"] += [
        {"name": name, "storage": "1Gi"} for name in ("cache", "messaging")
    ]
    data = [{"name": name, "storage": "1Gi"} for name, (platform, _) in TYPES.items() if platform == "data"]
    city.add("city.yaml", document("Platform", "data", {"capabilities": data}))
    app = city.one("App", "parks-app")["spec"]
    kept = [{"capability": name, "as": alias} for name, alias in WHOLE.items()] + list(STORES.values())
    app["uses"] = [{"capability": name, "as": alias} for name, (_, alias) in TYPES.items()] + kept
    home.run("up", city.save(), "--yes", timeout=900)
    assert entry(cluster, "POST", "榆树")["version"] == 1
    sql(cluster, "CREATE TABLE IF NOT EXISTS lost (name text)")
    sql(cluster, "INSERT INTO lost VALUES ('橡树')")
    assert cache(cluster, "SET", f"{prefix(cluster)}lost", "elm")
    assert files(cluster, "PUT:lost:12345") == [[200, 0]]
    signed_in, retained, password = iot(cluster, "say:lost:elm", "add:pump")
    assert signed_in and retained
    assert streams(cluster, messaging.MAKE, "visits.elm:{}")[1]["seq"] == 1
    marker, began = word(), datetime.now(UTC) - timedelta(minutes=3)
    write(cluster, "parks", f"{marker} 银杏")
    (line,) = found(cluster, "parks", marker)
    (known,) = [item for item in oci.stored() if item.reference == oci.reference("sample-app", source="built")]
    # No node has it: it has not run yet.
    image = push_as(city, cluster, "parks", variant(known, tmp_path), "parks/lost")
    period = eventually(lambda: sampled(home, city, began), 180)
    counted = used(home, city, period)
    home.run("backup", "run", city, timeout=900)
    home.run("state", "backup", city, "--to-target")

    home.run("destroy", city, f"--confirm={city.name}", "--delete-data", timeout=600)
    # Two instances of each type ask for more than two CPUs.
    for name, (platform, _) in TYPES.items():
        capability = {"name": f"{name}-new", "type": name, "storage": "1Gi", "zone": "internet", "cpu": "50m"}
        city.one("Platform", platform)["spec"]["capabilities"].append(capability)
    city.save()
    target.give_secrets(home, city)
    home.run("state", "restore", city, "--from-target", "--stack", f"{city.name}.secrets", "--yes")
    home.run("up", city, "--yes", timeout=900)
    # Without --confirm: nothing is replaced.
    for name in TYPES:
        home.run("restore", city, name, "--to", f"{name}-new", timeout=600)
    for name in WHOLE:
        assert "apps' credentials in it are then those of 20" in home.run("restore", city, name, timeout=600).err
    for name in STORES:
        assert "credentials" not in home.run("restore", city, name, timeout=600).err
    app["uses"] = [{"capability": f"{name}-new", "as": alias} for name, (_, alias) in TYPES.items()] + kept
    home.run("up", city.save(), "--yes", timeout=600)

    assert eventually(lambda: sql(cluster, "SELECT name FROM lost")) == [["橡树"]]
    assert cache(cluster, "GET", f"{prefix(cluster)}lost") == "elm"
    assert files(cluster, "GET:lost:0") == [[200, 12345]]
    assert iot(cluster, "hear:lost") == [True, "elm"]
    assert iot(cluster, f"as:pump:{password}", "say:devices/pump/state:on") == [True, True]
    assert streams(cluster, messaging.FIRST)[0]["message"]["subject"] == "visits.elm"
    assert eventually(lambda: entry(cluster, "GET"))["data"] == {"value": "榆树"}
    assert found(cluster, "parks", marker)[0].items() >= {"_time": line["_time"], "_msg": f"{marker} 银杏"}.items()
    assert used(home, city, period) == counted
    refused = home.run("restore", city, "metrics", timeout=600, code=2).err
    assert "nothing is removed or doubled" in refused
    home.run("restore", city, "metrics", f"--confirm={city.name}", timeout=600)
    assert used(home, city, period) == counted
    run_pod(cluster, "parks", "of-the-backup", f"{bound(cluster, 'parks')['repository']}/lost@{image.digest}")
    eventually(lambda: state_of(cluster, "parks", "of-the-backup")[0] == "Succeeded", seconds=120)
    assert "made for" in cluster.kubectl("logs", "-n", "parks-internet", "of-the-backup")
    for name in STALE:
        restores.record(name, str(date.today()), HOW_WHOLE if name in WHOLE else HOW_STORES if name in STORES else HOW)
