"""A vendor is added by its folder alone: a copy of the program with one folder more has all that a vendor has."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.program
ROOT = Path(__file__).parents[2]
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
    parts = ("wecityctl", "stacks", "stacks/clouds")
    for part in parts:
        (place / part).mkdir()
        for item in (ROOT / part).iterdir():
            if item.relative_to(ROOT).as_posix() not in parts and item.name != "__pycache__":
                (place / part / item.name).symlink_to(item.resolve())
    shutil.copytree(Path(__file__).parent / "nimbus", place / parts[-1] / "nimbus")
    return place


def run(program: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": f"{program}{os.pathsep}{ROOT}", "HOME": str(program), "NO_COLOR": "1"}
    return subprocess.run(
        [sys.executable, *arguments], env=environment, cwd=program, capture_output=True, text=True, check=False
    )


def wecityctl(program: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return run(program, "-c", "from wecityctl.entry import main; main()", *arguments)


def city(program: Path, altitude: int) -> str:
    path = program / f"city-{altitude}.yaml"
    path.write_text(CITY.replace("ALTITUDE", str(altitude)))
    return str(path)


def test_its_settings_are_checked_by_the_schema_and_by_its_own_check(program: Path) -> None:
    assert wecityctl(program, "validate", city(program, 40)).returncode == 0
    refused = wecityctl(program, "validate", city(program, 95))
    assert refused.returncode == 2 and "spec.nimbus.altitude: clusters do not hold together so high" in refused.stderr
    assert "a whole number from 1 to 1000" in wecityctl(program, "validate", city(program, 0)).stderr


def test_schema_reference_and_commands_have_it(program: Path) -> None:
    schema = json.loads(wecityctl(program, "schema").stdout)
    assert schema["definitions"]["NimbusSettings"]["properties"]["altitude"]["default"] == 20
    page = run(program, "-c", "from tests.spec.reference_page import spec_page; print(spec_page())").stdout
    assert "### `cloud.spec.nimbus`\n\nSettings of a landing zone on Nimbus." in page
    assert "altitude" in wecityctl(program, "explain", "cloud.spec.nimbus").stdout
    named = ("--region", "sky", "--network", "net-1", "--set", "availabilityZones=north", "--no-read")
    text = wecityctl(program, "import", "nimbus", *named).stdout
    assert "provider: nimbus" in text and "What exists on Nimbus" in text


def test_it_is_planned_and_its_program_runs(program: Path) -> None:
    done = wecityctl(program, "preview", city(program, 40), "--offline")
    assert done.returncode == 0, done.stderr
    assert "high.landing.main: 2 resources" in done.stdout and "altitude: 40" in done.stdout
    base = done.stdout.partition("high.base.main")[2]
    assert "StorageClass" in base
