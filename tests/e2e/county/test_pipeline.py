"""The pipeline of the examples on a real node: a device, another department and a file send records, of which the bad
ones are kept apart; that department reads what comes of them with its binding, and another app is refused."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.e2e.county.test_data_services import send
from tests.e2e.files import CityFiles
from tests.e2e.machine import Cluster, Machine, eventually

pytestmark = pytest.mark.node

SPACE, CONSUMER = "ecology-bureau-internet", "health-commission-internet"
ASSET = "ecology-bureau/air"

# What a station does: it signs in as the device and publishes records, each of which the server acknowledges.
STATION = """
import os, sys, paho.mqtt.client as mqtt
from sample_app.bindings import first, read_bindings
b = first(read_bindings(os.environ["SERVICE_BINDING_ROOT"]), "mqtt")
name, password, *records = sys.argv[1:]
c = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2)
c.username_pw_set(b.get("username") + "/" + name, password)
c.tls_set_context(b.tls)
c.connect(b.get("host"), int(b.get("port")))
c.loop_start()
for record in records:
    c.publish(f"{b.get('prefix')}devices/{name}/records", record, qos=1).wait_for_publish(20)
c.disconnect()
"""
# What the other department's app does: it posts to the address of its binding.
POST = """
import os, sys, urllib.request
root = os.environ["SERVICE_BINDING_ROOT"] + "/air/"
request = urllib.request.Request(open(root + "uri").read().rstrip("/") + "/records", sys.argv[1].encode())
print(urllib.request.urlopen(request, timeout=20).read().decode())
"""
COUNT = """
from pipeline.__main__ import _opened
print(sorted((source, outcome, number) for (source, outcome), number in _opened()[1].counts(1).items()))
"""


def collector(cluster: Cluster, *command: str) -> str:
    return cluster.kubectl("exec", "-n", SPACE, "statefulset/air-collect", "--", *command)


def reading(station: str, at: datetime, value: Any) -> dict[str, Any]:
    return {"station": station, "at": at.isoformat(), "pm25": value, "keeper": "ann"}


@pytest.mark.proves("data-services", "used", "refused")
@pytest.mark.proves("iot", "used")
def test_records_become_a_service_of_data(home: Machine, city: CityFiles, cluster: Cluster) -> None:
    now = datetime.now(UTC)
    # Two days of one hour: late, and what the forecast of that hour comes from.
    hour = now.replace(minute=0, second=0, microsecond=0) + timedelta(hours=2)
    past = [reading("s001", hour - timedelta(days=day), 10.0 * day) for day in (1, 2)]
    password = collector(cluster, "python3", "-m", "pipeline", "device", "s001").strip()
    mine = [json.dumps(past), json.dumps(reading("s001", now, 35)), "no JSON", json.dumps(reading("s002", now, 35))]
    collector(cluster, "python3", "-c", STATION, "s001", password, *mine, mine[1])

    # The other department's own station: one good, one twice, one with a wrong value.
    theirs = json.dumps([reading("s002", now, 20), reading("s002", now, 20), reading("s002", now, "high")])
    told = cluster.kubectl("exec", "-n", CONSUMER, "deploy/advice-web", "--", "python3", "-c", POST, theirs)
    said = json.loads(told)
    assert (said["accepted"], said["duplicate"], said["refused"]) == (1, 1, 1)
    assert said["first_refused"] == [{"record": 2, "field": "pm25", "reason": "is no number"}]

    rows = f"station,at,pm25,keeper\ns003,{now.isoformat()},12,\ns003,{now.isoformat()},2000,\n"
    put = f"printf %s '{rows}' > /data/inbox/a.part && mv /data/inbox/a.part /data/inbox/a.csv"
    collector(cluster, "sh", "-c", put)
    expected = [
        ("file", "accepted", 1), ("file", "refused", 1),
        ("http", "accepted", 1), ("http", "duplicate", 1), ("http", "refused", 1),
        ("mqtt", "accepted", 3), ("mqtt", "duplicate", 1), ("mqtt", "late", 2), ("mqtt", "refused", 2),
    ]  # fmt: skip
    eventually(lambda: collector(cluster, "python3", "-c", COUNT).strip() == str(expected))

    done = home.run("run", city, "air/compute", "-o", "json")
    assert done.json()["run"]["result"] == "succeeded"
    assert '"groups": ["s001", "s002", "s003"]' in done.err
    (_, page), (_, forecast), (refused, why), (_, quality) = send(
        cluster, "advice", f"GET /data/{ASSET}/hourly?where=grouped.eq.s001&columns=records,mean",
        f"GET /data/{ASSET}/forecast", f"GET /data/{ASSET}/records?columns=keeper",
        f"GET /assets/{ASSET}/records/quality", space=CONSUMER,
    )  # fmt: skip
    assert page["rows"] == [["1", 20], ["1", 10], ["1", 35]]
    assert [row[2:6] for row in forecast["rows"] if row[5] == 2] == [[15, 10, 20, 2]]
    assert (refused, why) == (403, {"reason": 'column "keeper" is not granted'})
    assert "4 of 11" in json.dumps(quality)
    # An app that uses data services, too, and has no grant.
    assert send(cluster, "albums", f"GET /data/{ASSET}/forecast")[0][0] == 403
    home.run("preview", city, "--detailed-exitcode")
