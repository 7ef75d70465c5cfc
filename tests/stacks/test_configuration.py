"""The objects of the configuration: what its server is told, and who reaches it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.stacks.cities import CLUSTER, app, application, city, one, record_city
from wecityctl.model.city import Capability, Use
from wecityctl.resource_graph import Recording

SETTINGS = Capability("application", "configuration", "configuration")


@pytest.fixture(scope="module")
def recorded() -> dict[str, Recording]:
    web = app("web", tenant="parks", uses=(Use("configuration", "settings", connections=7),))
    whole = city(web, platforms=(application(replace(SETTINGS, size="medium")),))
    return record_city(whole, CLUSTER)


def test_the_limits_of_accounts_come_to_a_part_of_the_database(recorded: dict[str, Recording]) -> None:
    spec = one(recorded, "StatefulSet", "platform-application/configuration").inputs["spec"]["template"]["spec"]
    (container,) = spec["containers"]
    options = dict(item.removeprefix("-").partition("=")[::2] for item in container["command"][2:])
    assert (options["storage"], options["connections"], options["database-connections"]) == (
        str(2**30 // 4),
        "1600",
        "10",
    )
    mounts = {item["name"]: item["mountPath"] for item in container["volumeMounts"]}
    assert mounts["binding-db"] == options["database"]
    (job,) = one(recorded, "Job", "provision-parks-web-settings").inputs["spec"]["template"]["spec"]["containers"]
    given = {item["name"]: item.get("value") for item in job["env"]}
    assert (given["OWNER"], given["CONNECTIONS"], given["STORAGE"]) == ("parks/web/settings", "7", str(2**20))


def test_an_app_reaches_the_port_of_apps_alone(recorded: dict[str, Recording]) -> None:
    policy = one(recorded, "NetworkPolicy", "platform-application/from-parks-web-settings").inputs["spec"]
    assert [port["port"] for rule in policy["ingress"] for port in rule["ports"]] == [8543]
