"""Partners' packages that fail or print while they are imported: what commands say, and which go on."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.program import ROOT, wecityctl
from tests.stacks.partner import write_partner

pytestmark = pytest.mark.program
CITY = ROOT / "examples" / "xingcheng"


@pytest.fixture
def partner(tmp_path: Path) -> Path:
    """The module of an installed package."""
    write_partner(tmp_path, "board")
    return tmp_path / "wecity_board" / "__init__.py"


def test_a_package_that_ends_the_program_fails_what_needs_it(partner: Path, tmp_path: Path) -> None:
    partner.write_text("import sys; sys.exit()\n")
    given = {"PYTHONPATH": str(tmp_path), "PYTHONDONTWRITEBYTECODE": "1", "PULUMI_CONFIG_PASSPHRASE": "x"}
    done = wecityctl("validate", str(CITY), home=tmp_path, **given)
    assert done.returncode == 2, done.stderr
    assert "in the package board 1 cannot be loaded: SystemExit" in done.stderr
    done = wecityctl("preview", str(CITY), "--detailed-exitcode", home=tmp_path, **given)
    assert done.returncode == 1, done.stderr
    # What mends things goes on, and `doctor` tells.
    for words in (["state", "list", str(CITY)], ["unlock", str(CITY)], ["images", "list"]):
        done = wecityctl(*words, home=tmp_path, **given)
        assert done.returncode == 0, (words, done.stderr)
    done = wecityctl("doctor", str(CITY), "-o", "json", home=tmp_path, **given)
    (found,) = (item for item in json.loads(done.stdout)["findings"] if item["name"] == "capability types")
    assert (found["level"], done.returncode) == ("error", 1)
    assert "package board 1 cannot be loaded" in found["detail"]


def test_what_a_package_prints_is_no_result(partner: Path, tmp_path: Path) -> None:
    partner.write_text(partner.read_text() + "\nprint('hello from the board')\n")
    done = wecityctl("validate", str(CITY), "-o", "json", home=tmp_path, PYTHONPATH=str(tmp_path))
    assert done.returncode == 0, done.stderr
    json.loads(done.stdout)
    assert "hello from the board" in done.stderr
