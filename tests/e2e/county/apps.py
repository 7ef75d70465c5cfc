"""What is added to the county: an app with every kind of component, and those that it calls or that may not call it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.e2e.files import CityFiles, app, document, read, tenant
from tests.e2e.machine import Cluster

PIPELINE = Path(__file__).parents[3] / "examples" / "pipeline"
NAME = "qinghe"
SPACE = "parks-internet"
SAMPLE = {"image": "catalogue:sample-app", "resources": {"cpu": "20m", "memory": "64Mi"}}
# What the migration does: it says for which version it is and in which database, and ends as it is told.
MIGRATE = """
import os, sys, urllib.parse
print("migrating to", os.environ["VERSION"], "in", urllib.parse.urlsplit(os.environ["DATABASE_URL"]).path, flush=True)
sys.exit(int(os.environ["CODE"]))
"""
# Ends when it is told to, as the first process of a container does not by itself.
SLOW = "import signal, sys, time; signal.signal(signal.SIGTERM, lambda *_: sys.exit(1)); time.sleep(60)"
TIDY = "import time; print('tidying'); time.sleep(4); print('tidied')"


def add_apps(city: CityFiles) -> None:
    """Add the tenant `parks` with three apps, an app of the library that two of them may call, an object store,
    messaging, configuration, data services, IoT access, notification without a relay, and the pipeline of the examples
    with its consumer.
    """
    data = {"capability": "data-services", "as": "data"}
    loans = app("loans", "library", uses=(data,))
    loans["spec"]["provides"] = [{"name": "api", "to": ["parks/*"]}]
    events = {"capability": "messaging", "as": "events"}
    files = {"capability": "object-storage", "as": "files", "storage": "4Mi"}
    settings = {"capability": "configuration", "as": "settings"}
    notify = {"capability": "notification", "as": "notify"}
    ponds = app("ponds", "parks", uses=(events, settings, "iot", notify))
    albums = app("albums", "parks", uses=(files, events, settings, data, "iot", notify))
    for each in (loans, ponds, albums):
        del each["spec"]["route"]
    parks = tenant("parks")
    parks["spec"] |= {"admins": ["ann@parks.example"], "deployers": ["ci@parks.example"]}
    city.add("parks.yaml", parks, _gardens(), ponds, albums)
    city.add("library.yaml", loans)
    capabilities = [{"name": "object-storage"}, {"name": "data-services"}, {"name": "iot"}]
    city.add("city.yaml", document("Platform", "data", {"capabilities": capabilities}))
    own = [{"name": "messaging", "storage": "1Gi"}, {"name": "configuration"}, {"name": "notification"}]
    city.one("Platform", "application")["spec"]["capabilities"].extend(own)
    # As it is copied: the files of a department, and not those of a city. It computes when it is told to.
    city.files |= {name: documents for name, documents in read(PIPELINE).files.items() if name != "city.yaml"}
    next(each for each in city.one("App", "air")["spec"]["components"] if "schedule" in each)["schedule"] = "0 0 1 1 *"
    city.one("City", NAME)["spec"]["notification"] = {"sms": {"sink": True}}


def _gardens() -> dict[str, object]:
    """An app with a database, jobs at set times, by hand and before a release, and a volume."""
    uses = (
        {"app": "library/loans", "as": "loans"},
        {"capability": "postgresql", "as": "db"},
        {"capability": "data-services", "as": "data"},
    )
    gardens = app("gardens", "parks", uses=uses)
    gardens["spec"]["route"]["component"] = "web"
    components = gardens["spec"]["components"]
    components[0]["env"] = {"VERSION": "1", "DATABASE_URL": "${db.uri}", "LOANS": "${loans.uri}"}
    # Due once a year: run by hand only.
    by_hand = {**SAMPLE, "schedule": "0 0 1 1 *"}
    components += [
        {
            **SAMPLE,
            "name": "migrate",
            "run": "before-release",
            "timeout": "2m",
            "command": ["python3", "-c", MIGRATE],
            "env": {"VERSION": "1", "CODE": "0", "DATABASE_URL": "${db.uri}"},
        },
        {
            **SAMPLE,
            "name": "report",
            "schedule": "* * * * *",
            "command": ["python3", "-c"],
            "args": ["import time; print('reported in', time.localtime().tm_zone)"],
        },
        {**SAMPLE, "name": "files", "port": 8080, "volumes": [{"name": "uploads", "path": "/data", "size": "64Mi"}]},
        {**by_hand, "name": "tidy", "command": ["python3", "-uc", TIDY]},
        {**by_hand, "name": "slow", "timeout": "2s", "command": ["python3", "-c", SLOW]},
    ]
    return gardens


def jobs(cluster: Cluster, name: str) -> list[dict[str, Any]]:
    """The Jobs of `parks` whose names begin with `name`, oldest first."""
    items = cluster.get("jobs", "-n", SPACE)["items"]
    found = [item for item in items if item["metadata"]["name"].startswith(name)]
    return sorted(found, key=lambda item: str(item["metadata"]["creationTimestamp"]))


def has_succeeded(job: dict[str, Any]) -> bool:
    return bool(job["status"].get("succeeded") == 1)
