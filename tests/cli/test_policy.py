"""`wecityctl policy`, and the policy rules in front of `preview` and `up`."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest

from tests.cli.program import ROOT, wecityctl

pytestmark = pytest.mark.program

CASES = ROOT / "tests" / "policy" / "cases"
EXAMPLE = "examples/xingcheng"
FOUND = "6:126: three-administrators: city: root@case.example is system administrator and audit administrator"
WAIVER = """---
apiVersion: wecity.dev/v1alpha1
kind: Waiver
metadata: {name: one-for-two}
spec:
  rule: three-administrators
  subjects: [city]
  owner: alice@case.gov.example
  reason: the second administrator begins in spring
  expires: "2999-12-31"
"""


def test_the_example_crosses_no_red_line(tmp_path: Path) -> None:
    done = wecityctl("policy", "check", EXAMPLE, home=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    summary = done.stdout.splitlines()[-1]
    assert re.fullmatch(r"xingcheng: \d+ rules over \d+ resources: 0 mandatory, 2 advisory, 0 waived", summary)


def test_a_mandatory_finding_has_its_place_and_ends_with_5(tmp_path: Path) -> None:
    done = wecityctl("policy", "check", "fail-two-offices.yaml", cwd=CASES / "three-administrators", home=tmp_path)
    assert done.returncode == 5
    lines = done.stdout.splitlines()
    assert lines[0] == f"mandatory fail-two-offices.yaml:{FOUND}"
    assert lines[1].strip() == "→ give one of the two offices to somebody else"


def test_advice_ends_with_0(tmp_path: Path) -> None:
    done = wecityctl("policy", "check", "fail.yaml", cwd=CASES / "unused-capability", home=tmp_path)
    assert done.returncode == 0
    assert "advisory  fail.yaml:24:7: unused-capability: capability gateway: no app routes through it" in done.stdout


def test_what_is_found_where_a_stack_cannot_be_seen_is_explained(tmp_path: Path) -> None:
    done = wecityctl("policy", "explain", "recorded", home=tmp_path)
    assert done.returncode == 0
    assert "nobody knows what it would make" in " ".join(done.stdout.split())


def _unplaceable(directory: Path, zone: str) -> Path:
    """The example, where an app of class L4 lies in a region that the city does not allow."""
    city = directory / "city"
    shutil.copytree(ROOT / EXAMPLE, city)
    for name, old, new in (
        ("city.yaml", "region: cn-hunan\n", "region: cn-hubei\n"),
        ("health-commission.yaml", "zone: internet\n  dataClass: L3", f"zone: {zone}\n  dataClass: L4"),
    ):
        text = (city / name).read_text()
        assert old in text
        (city / name).write_text(text.replace(old, new, 1))
    return city


def test_a_veto_is_told_of_a_city_that_cannot_be_placed(tmp_path: Path) -> None:
    city = _unplaceable(tmp_path, "internet")
    done = wecityctl("policy", "check", city, home=tmp_path)
    assert done.returncode == 5, done.stderr
    assert "the city cannot be placed" in done.stderr
    assert "only its files were judged" in done.stderr
    veto = r"mandatory .*health-commission.yaml:\d+:\d+: data-class \(veto\): health-commission/health-code: L4: "
    assert re.search(veto + "the app is in zone 'internet', which the internet reaches", done.stdout)
    done = wecityctl("policy", "check", city, "-o", "json", home=tmp_path)
    assert done.returncode == 5
    result = json.loads(done.stdout)
    assert result["unplaced"].startswith("the city cannot be placed")
    assert {item["rule"] for item in result["findings"] if item["veto"]} == {"data-class"}


def test_a_city_that_cannot_be_placed_and_breaks_no_rule_by_its_files_ends_with_2(tmp_path: Path) -> None:
    city = tmp_path / "city.yaml"
    text = (CASES / "three-administrators" / "pass.yaml").read_text()
    city.write_text(
        text.replace("      port: 8080", "      port: 8080\n      resources: {cpu: '3', memory: 1Gi}").replace(
            'nodes: 3, cpu: "16"', 'nodes: 1, cpu: "2"'
        )
    )
    done = wecityctl("policy", "check", city, home=tmp_path)
    assert done.returncode == 2
    assert "cannot be placed" in done.stderr


def test_json_has_everything(tmp_path: Path) -> None:
    done = wecityctl(
        "policy", "check", CASES / "three-administrators" / "fail-two-offices.yaml", "-o", "json", home=tmp_path
    )
    assert done.returncode == 5
    result = json.loads(done.stdout)
    assert result["format_version"] == "1.0"
    assert (result["counts"]["mandatory"], result["counts"]["waived"]) == (1, 0)
    assert [item["level"] for item in result["findings"]] == ["mandatory"] + ["advisory"] * result["counts"]["advisory"]
    first = result["findings"][0]
    assert {key: first[key] for key in ("rule", "level", "veto", "waiver", "subject", "line", "column", "path")} == {
        "rule": "three-administrators",
        "level": "mandatory",
        "veto": False,
        "waiver": "",
        "subject": "city",
        "line": 6,
        "column": 126,
        "path": "spec.compliance.administrators.audit",
    }
    assert {item["rule"] for item in result["evidence"]} >= {"default-deny", "plain-secrets"}


def test_rules_are_listed_and_explained() -> None:
    listed = wecityctl("policy", "list").stdout
    assert re.search(r"^data-class +veto ", listed, re.MULTILINE)
    rules = json.loads(wecityctl("policy", "list", "-o", "json").stdout)["rules"]
    assert [rule["name"] for rule in rules] == [line.split()[0] for line in listed.splitlines()[1:]]
    done = wecityctl("policy", "explain", "data-class")
    assert done.returncode == 0
    assert "cannot be waived" in done.stdout
    assert "8.1.4.11 个人信息保护" in done.stdout


def test_an_unknown_rule_has_a_near_one() -> None:
    done = wecityctl("policy", "explain", "data-clas")
    assert (done.returncode, done.stdout) == (2, "")
    assert "did you mean 'data-class'?" in done.stderr


@pytest.fixture
def city(tmp_path: Path) -> Path:
    """A city in which one person is two of the three administrators."""
    path = tmp_path / "city.yaml"
    shutil.copy(CASES / "three-administrators" / "fail-two-offices.yaml", path)
    return path


def test_up_is_stopped_before_anything_is_started(city: Path, tmp_path: Path) -> None:
    done = wecityctl("up", city, "--yes", home=tmp_path)
    assert done.returncode == 5
    assert "error: mandatory policy rules are crossed in 1 place; nothing was done" in done.stderr
    assert f"{city}:{FOUND}" in done.stderr
    assert not (tmp_path / ".local" / "state" / "wecityctl" / "clouds").exists()


def test_a_stream_of_events_ends_with_the_error(city: Path, tmp_path: Path) -> None:
    done = wecityctl("up", city, "--yes", "-o", "json", home=tmp_path)
    assert done.returncode == 5
    last = json.loads(done.stdout.splitlines()[-1])
    assert last["error"]["exit_code"] == 5
    assert "three-administrators" in last["error"]["details"]


def test_an_offline_preview_shows_what_up_would_refuse(city: Path, tmp_path: Path) -> None:
    done = wecityctl("preview", city, "--offline", home=tmp_path)
    assert done.returncode == 5
    assert f"error: {city}:{FOUND}" in done.stderr
    assert "warning: " in done.stderr
    assert "`up` will refuse: mandatory policy rules are crossed in 1 place" in done.stdout
    assert wecityctl("preview", city, "--offline", "--detailed-exitcode", home=tmp_path).returncode == 1


def test_a_waiver_lets_it_pass_and_is_shown_where_it_does(city: Path, tmp_path: Path) -> None:
    city.write_text(city.read_text() + WAIVER)
    done = wecityctl("policy", "check", city, home=tmp_path)
    assert done.returncode == 0
    assert "(waived: one-for-two)" in done.stdout
    assert "give one of the two" not in done.stdout, "what is waived need not be mended"
    assert "waiver one-for-two holds for long: it ends on 2999-12-31" in done.stdout
    assert wecityctl("preview", city, "--offline", home=tmp_path).returncode == 0


def test_an_expired_waiver_is_told(city: Path, tmp_path: Path) -> None:
    city.write_text(city.read_text() + WAIVER.replace("2999-12-31", "2020-12-31"))
    done = wecityctl("policy", "check", city, home=tmp_path)
    assert done.returncode == 5
    assert "waiver one-for-two no longer holds: expired after 2020-12-31; alice@case.gov.example answers" in done.stdout
