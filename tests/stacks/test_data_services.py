"""The objects of data services, and what is made of what their server says."""

from __future__ import annotations

from dataclasses import replace

import pytest

from stacks.catalogue import load_catalogue
from stacks.platforms.data.data_services.telling import judge
from tests.stacks.cities import CLUSTER, app, city, one, record_city
from wecityctl.model.city import Capability, City, Platform, Use
from wecityctl.plan import make_plan
from wecityctl.resource_graph import Recording

SERVICES = Capability("data", "data-services", "data-services")


def whole() -> City:
    uses = (Use("data-services", "data"),)
    base = city(app("web", tenant="parks", uses=uses), app("code", uses=uses))
    return replace(base, platforms=(*base.platforms, Platform("data", (SERVICES,))))


@pytest.fixture(scope="module")
def recorded() -> dict[str, Recording]:
    return record_city(whole(), CLUSTER)


def test_the_catalogue_and_the_reader_are_two_roles(recorded: dict[str, Recording]) -> None:
    roles = {}
    for alias in ("db", "reader"):
        job = one(recorded, "Job", f"provision-capability-data-services-{alias}")
        (container,) = job.inputs["spec"]["template"]["spec"]["containers"]
        values = {item["name"]: item.get("value") for item in container["env"]}
        roles[alias] = (values["OWNER"], values["CONNECTIONS"], values["STATEMENT_SECONDS"])
    assert roles == {
        "db": ("capability/data-services/db", "20", "600"),
        "reader": ("capability/data-services/reader", "20", "15"),
    }
    spec = one(recorded, "StatefulSet", "platform-data/data-services").inputs["spec"]["template"]["spec"]
    (container,) = spec["containers"]
    mounts = {item["name"]: item["mountPath"] for item in container["volumeMounts"]}
    options = dict(item.removeprefix("-").partition("=")[::2] for item in container["command"][2:])
    assert mounts["binding-db"] == options["catalogue"] != mounts["binding-reader"] == options["reader"]
    assert options["reader-connections"] == "20"


def test_hashes_outlive_the_administrators_password(recorded: dict[str, Recording]) -> None:
    """Their key is a value of its own, which is never replaced."""
    stack = make_plan(whole(), load_catalogue()).stack("xc.platform.data.main")
    assert {"capability/data-services/admin", "capability/data-services/masking"} <= set(stack.secrets)
    spec = one(recorded, "StatefulSet", "platform-data/data-services").inputs["spec"]["template"]["spec"]
    (container,) = spec["containers"]
    found = {item["name"]: item["valueFrom"]["secretKeyRef"]["key"] for item in container["env"] if "valueFrom" in item}
    assert found == {"ADMIN_PASSWORD": "password", "MASKING_KEY": "masking"}


def test_an_app_reaches_the_port_of_apps_alone(recorded: dict[str, Recording]) -> None:
    policy = one(recorded, "NetworkPolicy", "platform-data/from-parks-web-data").inputs["spec"]
    assert policy["ingress"][0]["ports"] == [{"protocol": "TCP", "port": 8443}]


def test_what_is_shared_of_persons_is_told() -> None:
    sharing = {
        "asset": "parks/web/visits",
        "consumer": "health/code",
        "columns": ["phone"],
        "purpose": "contact tracing",
    }
    status = {"assets": 2, "sharing": [{**sharing, "masks": {"phone": "partial"}}], "failing": []}
    told = judge(status, whole(), [])
    assert told.facts == (
        "it describes 2 assets",
        "health/code may read phone (partial) of parks/web/visits for 'contact tracing'",
    )
    assert told.problems == ()
    told = judge({"assets": 1, "sharing": [], "failing": ["parks/web/visits"]}, whole(), [])
    assert told.facts == ("it describes 1 asset", "no personal data is granted to another tenant")
    assert len(told.problems) == 1 and "parks/web/visits could not be read" in told.problems[0]
