"""A vendor is added by its folder alone: a copy of the program with one folder more has all that a vendor has."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tests.support.linked import link_program, run_python, run_wecityctl

pytestmark = pytest.mark.program
CITY = """\
apiVersion: wecity.dev/v1alpha1
kind: City
metadata: {name: high}
spec:
  domain: high.example
  zones: [{name: internet, kind: internet}]
---
apiVersion: wecity.dev/v1alpha1
kind: Cloud
metadata: {name: main}
spec:
  provider: nimbus
  region: sky
  nimbus: {availabilityZones: [north], altitude: ALTITUDE}
  zones: [internet]
  pools:
    - {name: general, architecture: amd64, nodes: 2, cpu: "8", memory: 32Gi, storage: 100Gi, instanceTypes: [cumulus]}
"""


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The program's modules as links, and one vendor more."""
    place = tmp_path_factory.mktemp("program")
    link_program(place, ("wecityctl", "stacks", "stacks/clouds"))
    shutil.copytree(Path(__file__).parent / "nimbus", place / "stacks/clouds" / "nimbus")
    return place


def city(program: Path, altitude: int) -> str:
    path = program / f"city-{altitude}.yaml"
    path.write_text(CITY.replace("ALTITUDE", str(altitude)))
    return str(path)


def test_its_settings_are_checked_by_the_schema_and_by_its_own_check(program: Path) -> None:
    assert run_wecityctl(program, "validate", city(program, 40)).returncode == 0
    refused = run_wecityctl(program, "validate", city(program, 95))
    assert refused.returncode == 2 and "spec.nimbus.altitude: clusters do not hold together so high" in refused.stderr
    assert "a whole number from 1 to 1000" in run_wecityctl(program, "validate", city(program, 0)).stderr


def test_schema_reference_and_commands_have_it(program: Path) -> None:
    schema = json.loads(run_wecityctl(program, "schema").stdout)
    assert schema["definitions"]["NimbusSettings"]["properties"]["altitude"]["default"] == 20
    page = run_python(program, "-c", "from tests.spec.reference_page import spec_page; print(spec_page())").stdout
    assert "### `cloud.spec.nimbus`\n\nSettings of a landing zone on Nimbus." in page
    assert "altitude" in run_wecityctl(program, "explain", "cloud.spec.nimbus").stdout
    named = ("--region", "sky", "--network", "net-1", "--set", "availabilityZones=north", "--no-read")
    text = run_wecityctl(program, "import", "nimbus", *named).stdout
    assert "provider: nimbus" in text and "What exists on Nimbus" in text


def test_it_is_planned_and_its_program_runs(program: Path) -> None:
    done = run_wecityctl(program, "preview", city(program, 40), "--offline")
    assert done.returncode == 0, done.stderr
    assert "high.landing.main: 2 resources" in done.stdout and "altitude: 40" in done.stdout
    base = done.stdout.partition("high.base.main")[2]
    assert "StorageClass" in base
