"""Fields that an earlier release called otherwise: the hint, and the command that renames them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.program import wecityctl
from wecityctl.errors import InvalidCityError
from wecityctl.spec.migrate import migrate

OLD = """\
# the city's clouds
apiVersion: wecity.dev/v1alpha1
kind: Cloud
metadata: {name: main}
spec:
  provider: local
  crossing:   # how others reach it
    address: 10.0.0.1
---
apiVersion: wecity.dev/v1alpha1
kind: Tenant
metadata: {name: health}
spec: {title: crossing domain, "domain": digital-government}
---
apiVersion: wecity.dev/v1alpha1
kind: City
metadata: {name: x}
spec: {domain: x.gov.example}
"""
NEW = OLD.replace("  crossing:", "  interconnect:").replace('"domain"', '"area"')


def test_only_the_keys_are_renamed(tmp_path: Path) -> None:
    file = tmp_path / "city.yaml"
    file.write_text(OLD)
    (found,) = migrate(file)
    assert found.text == NEW
    assert [(item.line, item.old, item.new) for item in found.renamings] == [
        (7, "crossing", "interconnect"),
        (13, "domain", "area"),
    ]
    assert file.read_text() == OLD


@pytest.mark.parametrize("text", [OLD.replace("\n", "\r\n"), "\ufeff" + OLD], ids=["crlf", "bom"])
def test_every_other_character_stays(tmp_path: Path, text: str) -> None:
    file = tmp_path / "city.yaml"
    file.write_bytes(text.encode())
    (found,) = migrate(file)
    assert found.text == text.replace("  crossing:", "  interconnect:").replace('"domain"', '"area"')


def test_a_field_under_both_names_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "city.yaml"
    file.write_text(OLD.replace("  provider: local\n", "  provider: local\n  interconnect: {}\n"))
    with pytest.raises(InvalidCityError) as caught:
        migrate(file)
    (problem,) = caught.value.problems
    assert (problem.line, problem.path) == (8, "spec.crossing")


@pytest.mark.parametrize("key", ['"dom\\u0061in"', "&a domain", "!!str domain", "? !!str domain\n  "])
def test_a_key_that_is_not_written_as_it_reads_is_refused(tmp_path: Path, key: str) -> None:
    file = tmp_path / "city.yaml"
    text = OLD.replace('{title: crossing domain, "domain": digital-government}', f"\n  {key}: x")
    file.write_text(text)
    with pytest.raises(InvalidCityError) as caught:
        migrate(file)
    (problem,) = caught.value.problems
    assert problem.line == 14
    assert "now called 'area'" in problem.message
    assert file.read_text() == text


def test_an_explicit_key_is_renamed(tmp_path: Path) -> None:
    file = tmp_path / "city.yaml"
    file.write_text(OLD.replace('{title: crossing domain, "domain": digital-government}', "\n  ? 'domain'\n  : x"))
    (found,) = migrate(file)
    assert "? 'area'\n" in found.text


def test_the_command_writes_in_one_step_and_says_what(tmp_path: Path) -> None:
    real = tmp_path / "real.yaml"
    real.write_text(OLD)
    real.chmod(0o640)
    (tmp_path / "city").mkdir()
    file = tmp_path / "city" / "city.yaml"
    file.write_text(OLD)
    file.chmod(0o640)
    shown = wecityctl("migrate", str(file), "--dry-run")
    assert shown.stdout.splitlines()[-1] == "2 fields would be renamed in 1 file"
    assert file.read_text() == OLD
    done = wecityctl("migrate", str(file))
    assert f"{file}:7:3: crossing → interconnect" in done.stdout
    assert file.read_text() == NEW
    assert file.stat().st_mode & 0o777 == 0o640
    assert [item.name for item in file.parent.iterdir()] == ["city.yaml"]
    assert wecityctl("migrate", str(file)).stdout == f"{file} needs no change\n"


def test_validate_names_the_new_field_and_the_command(tmp_path: Path) -> None:
    file = tmp_path / "city.yaml"
    file.write_text(OLD)
    done = wecityctl("validate", str(file))
    assert done.returncode == 2
    assert (
        f"{file}:7:3: spec.crossing: unknown field 'crossing'; expected 'interconnect', as it is called now; "
        "`wecityctl migrate` renames it in the files" in done.stderr
    )
    assert "'area' is missing" not in done.stderr


def test_the_example_needs_no_change() -> None:
    assert migrate(Path(__file__).parents[2] / "examples") == ()
