"""`wecityctl import` of a vendor's network and cluster: named alone, or read through a plug-in by its own protocol."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from subprocess import CompletedProcess

import pytest
import yaml

from stacks.catalogue import load_catalogue
from tests.cli.program import ROOT, wecityctl
from tests.landing.support import _token
from wecityctl.model.discovery import Kind, discovery_of
from wecityctl.model.vendors import vendors
from wecityctl.spec import load_city
from wecityctl.toolchain.catalogue import VENDOR_VERSIONS

pytestmark = pytest.mark.program

CREDENTIALS = {"TENCENTCLOUD_SECRET_ID": "id", "TENCENTCLOUD_SECRET_KEY": "the-secret-key"}
TENCENT = ("import", "tencentcloud", "--region", "ap-guangzhou", "--network", "vpc-1")
SETTINGS = ("--set", "appId=1250000000")
NETWORK = discovery_of("tencentcloud").network.token
SUBNET = discovery_of("tencentcloud").subnet.token
CLUSTER = discovery_of("tencentcloud").cluster.token
CLOUD = {
    NETWORK: {"vpc-1": {"cidrBlock": "10.60.0.0/16", "name": "city"}, "vpc-3": "forbidden"},
    SUBNET: {
        "subnet-1": {"cidrBlock": "10.60.1.0/24", "availabilityZone": "ap-guangzhou-6", "vpcId": "vpc-1"},
        "subnet-2": {"cidrBlock": "10.60.2.0/24", "availabilityZone": "ap-guangzhou-7", "vpcId": "vpc-1"},
        "subnet-9": {"cidrBlock": "10.61.2.0/24", "availabilityZone": "ap-guangzhou-7", "vpcId": "vpc-2"},
    },
    CLUSTER: {"cls-1": {"clusterVersion": "1.34.1", "vpcId": "vpc-1", "kubeConfig": "a-secret-kubeconfig"}},
}
CITY = """\
apiVersion: wecity.dev/v1alpha1
kind: City
metadata: {name: donghu}
spec:
  domain: donghu.gov.example
  zones: [{name: internet, kind: internet}, {name: extranet, kind: government-extranet}]
"""


@dataclass(slots=True)
class Machine:
    """A machine with the test's plug-in in its Pulumi home."""

    home: Path

    def run(self, *arguments: str | Path, **environment: str) -> CompletedProcess[str]:
        own = {
            "PULUMI_HOME": str(self.home / "pulumi"),
            "XDG_CACHE_HOME": str(self.home / "cache"),
            "CLOUD": str(self.home / "cloud.json"),
            "CALLS": str(self.home / "calls"),
        }
        return wecityctl(*arguments, home=self.home, **own, **environment)

    @property
    def calls(self) -> list[str]:
        path = self.home / "calls"
        return path.read_text().splitlines() if path.exists() else []


@pytest.fixture
def bare(tmp_path: Path) -> Machine:
    """A machine without a plug-in."""
    return Machine(tmp_path)


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    version = VENDOR_VERSIONS["tencentcloud"]
    directory = tmp_path / "pulumi" / "plugins" / f"resource-tencentcloud-{version}"
    directory.mkdir(parents=True)
    program = directory / "pulumi-resource-tencentcloud"
    program.write_text(f'#!/bin/sh\nPYTHONPATH={ROOT} exec {sys.executable} -m tests.cli.vendor_plugin "$@"\n')
    program.chmod(0o755)
    (tmp_path / "cloud.json").write_text(json.dumps(CLOUD))
    return Machine(tmp_path)


def test_what_is_named_is_read(machine: Machine) -> None:
    subnets = ("--subnet", "extranet=subnet-1", "--subnet", "exchange=subnet-2")
    done = machine.run(*TENCENT, *subnets, "--cluster", "cls-1", *SETTINGS, **CREDENTIALS)
    assert done.returncode == 0, done.stderr
    spec = yaml.safe_load(done.stdout)["spec"]
    assert spec["network"] == {
        "cidr": "10.60.0.0/16",
        "subnets": {"extranet": "10.60.1.0/24", "exchange": "10.60.2.0/24"},
    }
    assert spec["existing"] == {
        "network": "vpc-1",
        "subnets": {"extranet": "subnet-1", "exchange": "subnet-2"},
        "cluster": "cls-1",
    }
    assert spec["tencentcloud"] == {
        "availabilityZones": ["ap-guangzhou-6", "ap-guangzhou-7"],
        "appId": "1250000000",
    }
    assert "as the vendor's plug-in read it" in done.stdout
    assert machine.calls == [
        'Configure {"region": "ap-guangzhou"}',
        f"Read {NETWORK} vpc-1",
        f"Read {SUBNET} subnet-1",
        f"Read {SUBNET} subnet-2",
        f"Read {CLUSTER} cls-1",
    ]


def test_secrets_that_the_vendor_shows_are_not_written(machine: Machine) -> None:
    done = machine.run(
        *TENCENT, "--subnet", "extranet=subnet-1", "--cluster", "cls-1", *SETTINGS, "-o", "json", **CREDENTIALS
    )
    assert done.returncode == 0, done.stderr
    assert "secret" not in (done.stdout + done.stderr)


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (("--subnet", "extranet=subnet-7"), 2, "Tencent Cloud has no subnet subnet-7 in ap-guangzhou"),
        (("--subnet", "extranet=subnet-9"), 2, "subnet subnet-9 is in vpc-2, not in vpc-1"),
        (("--zone", "extranet", "--cluster", "cls-2"), 2, "Tencent Cloud has no cluster cls-2 in ap-guangzhou"),
    ],
)
def test_what_is_not_there_is_told(machine: Machine, arguments: tuple[str, ...], code: int, told: str) -> None:
    done = machine.run(*TENCENT, *arguments, *SETTINGS, **CREDENTIALS)
    assert done.returncode == code
    assert told in done.stderr
    assert done.stdout == ""


def test_what_the_vendor_refuses_to_show_is_told(machine: Machine) -> None:
    arguments = ("import", "tencentcloud", "--region", "ap-guangzhou", "--network", "vpc-3")
    done = machine.run(*arguments, "--zone", "extranet", *SETTINGS, **CREDENTIALS)
    assert done.returncode == 4
    assert "could not read vpc-3" in done.stderr
    assert "AuthFailure.UnauthorizedOperation" in done.stderr


def test_without_credentials_it_is_only_written_down_and_says_so(machine: Machine) -> None:
    done = machine.run(*TENCENT, "--subnet", "extranet=subnet-1", "--cluster", "cls-1", *SETTINGS)
    assert done.returncode == 0, done.stderr
    assert "there are no credentials for tencentcloud" in done.stderr
    assert "set TENCENTCLOUD_SECRET_ID and TENCENTCLOUD_SECRET_KEY" in done.stderr
    assert "nobody has looked at it" in done.stdout
    assert machine.calls == []


def test_reading_that_is_asked_for_and_cannot_be_done_fails(bare: Machine) -> None:
    done = bare.run(*TENCENT, "--zone", "extranet", "--read", **CREDENTIALS)
    assert done.returncode == 2
    assert "pulumi-resource-tencentcloud" in done.stderr
    assert "pulumi plugin install resource tencentcloud" in done.stderr
    # No checksum of the plug-in is recorded, so this would always fail.
    assert "engine install --part" not in done.stderr
    assert done.stdout == ""


def test_nothing_is_looked_at_that_is_not_to_be(machine: Machine) -> None:
    done = machine.run(
        *TENCENT, "--subnet", "extranet=subnet-7", "--cluster", "c", "--no-read", *SETTINGS, **CREDENTIALS
    )
    assert done.returncode == 0, done.stderr
    assert machine.calls == []
    assert "not looked at" not in done.stderr


@pytest.mark.parametrize("provider", ["alicloud", "tencentcloud", "huaweicloud", "openstack"])
def test_what_is_named_becomes_a_document_that_a_city_takes(provider: str, bare: Machine) -> None:
    (bare.home / "city.yaml").write_text(CITY)
    settings = SETTINGS if provider == "tencentcloud" else ()
    done = bare.run(
        *(
            "import",
            provider,
            "--region",
            "region-1",
            "--network",
            "net-1",
            "--cluster",
            "c-1",
            "--cidr",
            "10.9.0.0/16",
        ),
        *("--subnet", "internet=sub-1", "--subnet", "extranet=sub-2", "--directory", bare.home, *settings),
    )
    assert done.returncode == 0, done.stderr
    (cloud,) = load_city(bare.home, load_catalogue()).city.clouds
    assert (cloud.provider, cloud.region, cloud.network.cidr) == (provider, "region-1", "10.9.0.0/16")
    assert (cloud.existing.network, cloud.existing.cluster) == ("net-1", "c-1")
    assert cloud.existing.subnets == {"internet": "sub-1", "extranet": "sub-2"}


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--subnet", "extranet"), "--subnet extranet: expected two texts with = between them"),
        (("--subnet", "extranet=a", "--subnet", "extranet=b"), "--subnet names extranet twice"),
        (
            ("--zone", "extranet", "--set", "appID=1"),
            "known: availabilityZones, kubernetesVersion, clusterLevel, appId",
        ),
        (("--zone", "extranet", *SETTINGS), "spec.tencentcloud.availabilityZones"),
        (("--zone", "extranet", "--file", "x", "--directory", "."), "--directory and --file exclude each other"),
        (("--zone", "extranet", "--directory", "not-there"), "not-there is not a directory"),
    ],
)
def test_what_does_not_make_sense_is_refused(bare: Machine, arguments: tuple[str, ...], told: str) -> None:
    done = bare.run(*TENCENT, "--no-read", *arguments)
    assert done.returncode == 2
    assert told in done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize(
    "broken",
    ["kind: City\nspec: [a, b]\n", "kind: City\nspec: {zones: all}\n", "kind: Cloud\nmetadata: 7\n", "{", "\t"],
)
def test_files_with_mistakes_are_left_to_validate(bare: Machine, broken: str) -> None:
    (bare.home / "city.yaml").write_text(broken)
    arguments = ("--region", "r", "--network", "n", "--cluster", "c", "--zone", "extranet", "--no-read")
    done = bare.run("import", "openstack", *arguments, "--directory", bare.home)
    assert done.returncode == 0, done.stderr
    assert (bare.home / "cloud-main.yaml").exists()


@pytest.mark.parametrize(
    ("given", "setting", "value"),
    [("masters=3", "masters", 3), ("keyManager=true", "keyManager", True), ("keyPair=ops", "keyPair", "ops")],
)
def test_settings_are_read_as_what_they_are(bare: Machine, given: str, setting: str, value: object) -> None:
    arguments = ("--region", "r", "--network", "n", "--cluster", "c", "--zone", "extranet", "--no-read")
    done = bare.run("import", "openstack", *arguments, "--set", given, "-o", "json")
    assert json.loads(done.stdout)["document"]["spec"]["openstack"] == {setting: value}


@pytest.mark.parametrize("provider", vendors())
@pytest.mark.parametrize("kind", ["network", "subnet", "cluster"])
def test_the_sdk_knows_the_tokens_and_properties_that_are_read(provider: str, kind: str) -> None:
    wanted: Kind = getattr(discovery_of(provider), kind)
    resource = resource_class(provider, wanted.token)
    assert _token(resource) == wanted.token
    getters = [item.fget for item in vars(resource).values() if isinstance(item, property)]
    known = {getattr(getter, "_pulumi_name", getattr(getter, "__name__", "")) for getter in getters}
    assert {wanted.cidr, wanted.availability_zone, wanted.network, wanted.version} - {""} <= known


def resource_class(provider: str, token: str) -> type:
    """The SDK's class of `provider:module/fileName:Name`.

    Taken from the package's own attribute: the SDKs load their modules lazily, and importing a module below one that is
    not loaded yet leaves that one half empty for whoever comes next.
    """
    package = {"tencentcloud": "tencentcloud_iac_pulumi"}.get(provider, f"pulumi_{provider}")
    module, name = token.split(":")[1:]
    found: type = getattr(getattr(import_module(package), module.split("/")[0].lower()), name)
    return found
