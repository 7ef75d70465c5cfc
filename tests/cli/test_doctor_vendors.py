"""`doctor` with a city asks each vendor, where this machine can, for what only the vendor knows."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Mapping
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from tests.cli.test_import_vendors import CREDENTIALS, Machine, machine
from tests.landing import support
from tests.landing.support import INTERNET
from wecityctl.errors import DeploymentError
from wecityctl.importing.offers import compare, words
from wecityctl.model.discovery import discovery_of
from wecityctl.model.offers import Missing
from wecityctl.model.vendors import vendors

__all__ = ["machine"]
SDKS = {"tencentcloud": "tencentcloud_iac_pulumi"}
ZONES = "tencentcloud:Availability/getZonesByProduct:getZonesByProduct"
TYPES = "tencentcloud:Instance/getTypes:getTypes"


@pytest.mark.parametrize("provider", vendors())
def test_every_question_is_one_of_the_sdks_own(provider: str) -> None:
    base = support.cloud(provider, INTERNET)
    cloud = replace(base, settings=replace(base.settings, **_version(base)))
    asked = tuple(discovery_of(provider).questions(cloud))
    assert {what for what, _, _ in asked} >= {"availability zone", "machine type"}
    for _, _, question in asked:
        package, path, function = re.split("[:]", question.token)
        module = path.partition("/")[0].lower()
        name = re.sub(r"([A-Z])", r"_\1", function).lower()
        root = SDKS.get(package, f"pulumi_{package}")
        source = inspect.getsource(import_module(f"{root}.{name}" if module == "index" else f"{root}.{module}.{name}"))
        assert f"'{question.token}'" in source
        assert all(f"__args__['{argument}']" in source for argument in question.arguments)
        if question.items:
            snake = re.sub(r"([A-Z])", r"_\1", question.items).lower()
            assert f"def {snake}(self)" in source


def _version(cloud: Any) -> dict[str, str]:
    return {"kubernetes_version": "1.34"} if hasattr(cloud.settings, "kubernetes_version") else {}


class Vendor:
    """A plug-in that answers from a table, and refuses what is not in it."""

    def __init__(self, answers: Mapping[str, Any]) -> None:
        self.answers = answers

    def invoke(self, token: str, arguments: Mapping[str, str]) -> dict[str, Any]:
        found = self.answers.get(token)
        if found is None:
            raise DeploymentError("the plug-in could not answer", details=f"no {arguments.get('name')}")
        return found


def test_words_that_the_vendor_does_not_know_are_found() -> None:
    base = support.cloud("alicloud", INTERNET)
    cloud = replace(base, settings=replace(base.settings, kubernetes_version="1.34.1-aliyun.1"))
    vendor = Vendor(
        {
            "alicloud:index/getZones:getZones": {"ids": ["region-1-a"]},
            "alicloud:cs/getKubernetesVersion:getKubernetesVersion": {"metadatas": [{"version": "1.33.3-aliyun.1"}]},
            "alicloud:ecs/getInstanceTypes:getInstanceTypes": {"ids": ["amd.large", "arm.large", "arm.huge"]},
        }
    )
    found = compare(cloud, vendor)  # type: ignore[arg-type]
    assert found.missing == (
        Missing("availability zone", "region-1-b", ("region-1-a",)),
        Missing("version of Kubernetes", "1.34.1-aliyun.1", ("1.33.3-aliyun.1",)),
    )
    assert found.not_asked == ()
    assert len(list(words(cloud))) == 6


def test_one_thing_that_is_not_there_is_told_in_the_vendors_words() -> None:
    vendor = Vendor({"openstack:compute/getAvailabilityZones:getAvailabilityZones": {"names": ["nova"]}})
    found = compare(support.cloud("openstack", INTERNET), vendor)  # type: ignore[arg-type]
    assert {(item.word, item.said) for item in found.missing} >= {("m1.large", "no m1.large")}


CITY = """\
apiVersion: wecity.dev/v1alpha1
kind: City
metadata: {name: testcity}
spec:
  domain: x.example
  zones: [{name: internet, kind: internet}]
---
apiVersion: wecity.dev/v1alpha1
kind: Cloud
metadata: {name: main}
spec:
  provider: tencentcloud
  region: ap-guangzhou
  zones: [internet]
  tencentcloud: {availabilityZones: [ap-guangzhou-6], appId: "1250000000", kubernetesVersion: 1.34.1}
  pools:
    - {name: general, architecture: amd64, nodes: 1, cpu: "4", memory: 8Gi, storage: 50Gi, instanceTypes: [SA5.LARGE8]}
"""


def city(directory: Path) -> Path:
    path = directory / "city.yaml"
    path.write_text(CITY)
    return path


def findings(machine: Machine, **credentials: str) -> list[dict[str, Any]]:
    done = machine.run("doctor", str(city(machine.home)), "-o", "json", **credentials)
    found: list[dict[str, Any]] = json.loads(done.stdout)["findings"]
    return [item for item in found if item["name"].startswith("landing zone main")]


@pytest.mark.slow
def test_doctor_asks_the_vendor_where_there_are_credentials(machine: Machine) -> None:
    answers = {
        ZONES: {"zones": [{"name": "ap-guangzhou-6"}]},
        TYPES: {"instanceTypes": [{"instanceType": "SA9.LARGE8"}]},
    }
    (machine.home / "cloud.json").write_text(json.dumps({"answers": answers}))
    found = findings(machine, **CREDENTIALS)
    assert [item["level"] for item in found] == ["ok", "warning", "ok"]
    assert "machine type SA5.LARGE8" in found[1]["detail"] and "SA9.LARGE8" in found[1]["remedy"]
    assert "ap-guangzhou" in found[2]["detail"] and "not asked: versions of Kubernetes" in found[2]["detail"]
    assert f"Invoke {ZONES} " + '{"product": "cvm"}' in machine.calls
    # What the vendor refuses is no judgement of the files.
    (machine.home / "cloud.json").write_text(json.dumps({"answers": {}}))
    refused = findings(machine, **CREDENTIALS)[-1]
    assert refused["level"] == "warning" and "could not answer" in refused["detail"]


def test_without_credentials_it_says_that_nobody_was_asked(machine: Machine) -> None:
    found = findings(machine)
    assert any("was not asked" in item["detail"] for item in found)
    assert machine.calls == []
