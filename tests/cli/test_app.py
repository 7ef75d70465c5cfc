"""`wecityctl app`: from draft to retirement in a city's own files, and what is refused on the way."""

from __future__ import annotations

import json
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import yaml

from tests.cli.program import ROOT, wecityctl
from wecityctl.errors import ConfigurationError
from wecityctl.operations.city_files import write_together

ALICE, BOB, EVE = "alice@xc.example", "bob@xc.example", "eve@xc.example"
NAME = "health-commission/health-code"
RECORDS = "health-commission.health-code.lifecycle.yaml"


@pytest.fixture
def city(tmp_path: Path) -> Path:
    """The example with one app as a draft; its file has a comment and a quoted stage."""
    place = tmp_path / "city"
    shutil.copytree(ROOT / "examples" / "xingcheng", place)
    file = place / "health-commission.yaml"
    text = file.read_text()
    file.write_text(text.replace("stage: published", "stage: 'draft'  # since May", 1))
    return place


def act(city: Path, action: str, by: str, *more: str, code: int = 0, name: str = NAME) -> dict[str, object]:
    done = wecityctl("app", action, city, name, "--by", by, "-o", "json", *more)
    assert done.returncode == code, done.stdout + done.stderr
    found: dict[str, object] = json.loads(done.stdout)
    return found


def refused(city: Path, action: str, by: str, *more: str, code: int) -> str:
    before = content(city)
    done = wecityctl("app", action, city, NAME, "--by", by, *more)
    assert done.returncode == code, done.stdout + done.stderr
    assert content(city) == before
    return done.stderr


def content(city: Path) -> dict[str, bytes]:
    files = [city] if city.is_file() else sorted(city.iterdir())
    return {file.name: file.read_bytes() for file in files}


def policy(city: Path) -> tuple[int, list[str]]:
    done = wecityctl("policy", "check", city, "-o", "json")
    found = [item for item in json.loads(done.stdout)["findings"] if item["rule"] == "reviewed-apps"]
    return done.returncode, [item["message"] for item in found]


def replaced(city: Path, old: str, new: str, file: str = "health-commission.yaml") -> None:
    path = city / file
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def test_an_app_lives_from_draft_to_retirement(city: Path) -> None:
    stages = [
        act(city, action, by)["stage"]
        for action, by in [
            ("submit", ALICE),
            ("review", BOB),
            ("publish", BOB),
            ("suspend", EVE),
            ("resume", EVE),
            ("retire", ALICE),
        ]
    ]
    assert stages == ["draft", "reviewed", "published", "suspended", "published", "retired"]
    assert "stage: 'retired'  # since May" in (city / "health-commission.yaml").read_text()
    assert wecityctl("validate", city).returncode == 0
    assert policy(city) == (0, [])
    records = yaml.safe_load((city / RECORDS).read_text())["spec"]["records"]
    assert [(item["action"], item["by"]) for item in records][1] == ("review", BOB)
    assert {check["name"] for check in records[1]["checks"]} == {
        "files",
        "placement",
        "policy",
        "images",
        "probes",
        "owner",
    }
    shown = json.loads(wecityctl("app", "show", city, NAME, "-o", "json").stdout)
    assert [item["action"] for item in shown["records"]] == [item["action"] for item in records]
    assert (shown["stage"], shown["as_recorded"]) == ("retired", True)
    # Its document may go; its records stay.
    documents = list(yaml.safe_load_all((city / "health-commission.yaml").read_text()))
    left = [item for item in documents if item["metadata"]["name"] != "health-code"]
    (city / "health-commission.yaml").write_text(yaml.safe_dump_all(left, allow_unicode=True))
    assert wecityctl("validate", city).returncode == 0


def test_what_was_not_reviewed_is_not_published(city: Path) -> None:
    assert "begin with: wecityctl app submit" in refused(city, "publish", BOB, code=2)
    act(city, "submit", ALICE)
    assert "needs an app that is reviewed" in refused(city, "publish", BOB, code=2)
    assert "cannot review it" in refused(city, "review", ALICE, code=5)
    replaced(city, "replicas: 2", "replicas: 3")
    assert f"has changed since {ALICE} submitted it" in refused(city, "review", BOB, code=5)
    act(city, "submit", ALICE)
    act(city, "review", BOB)
    assert "has not been submitted since its last review" in refused(city, "review", BOB, code=2)
    replaced(city, "replicas: 3", "replicas: 2")
    assert f"is not what was reviewed by {BOB}" in refused(city, "publish", BOB, code=5)
    code, found = policy(city)
    assert code == 5
    assert found[0].startswith("differs from what was reviewed on ")
    replaced(city, "replicas: 2", "replicas: 3")
    act(city, "publish", BOB)
    assert policy(city) == (0, [])


def test_a_published_app_that_is_changed_is_found_until_it_is_reviewed(city: Path) -> None:
    for action, by in (("submit", ALICE), ("review", BOB), ("publish", BOB)):
        act(city, action, by)
    replaced(city, "replicas: 2", "replicas: 3")
    assert policy(city)[0] == 5
    # The next version: it stays published all the time.
    assert act(city, "submit", ALICE)["stage"] == "published"
    assert act(city, "review", BOB)["stage"] == "published"
    assert policy(city)[0] == 5
    act(city, "publish", BOB)
    assert policy(city) == (0, [])
    replaced(city, "stage: 'published'", "stage: suspended")
    code, found = policy(city)
    assert (code, found) == (5, ["its stage is 'suspended', but its records leave it 'published'"])
    assert "write `stage: published`" in refused(city, "resume", BOB, code=2)


def test_a_review_that_finds_a_violation_is_a_rejection(city: Path) -> None:
    replaced(city, "dataClass: L3", "dataClass: L4")
    act(city, "submit", ALICE)
    found = act(city, "review", BOB, code=5)
    record = found["record"]
    assert isinstance(record, dict)
    assert (found["stage"], record["action"]) == ("draft", "reject")
    (check,) = [item for item in record["checks"] if item["result"] == "failed"]
    assert check["name"] == "policy"
    assert any(line.startswith("data-class: ") for line in check["findings"])
    assert "needs an app that is reviewed" in refused(city, "publish", BOB, code=2)
    act(city, "submit", ALICE)
    assert act(city, "review", BOB, "--reject", "--note", "no")["stage"] == "draft"


def test_a_dry_run_writes_nothing(city: Path) -> None:
    before = content(city)
    assert act(city, "submit", ALICE, "--dry-run")["written"] is False
    assert content(city) == before


def test_an_app_that_was_deployed_before_its_records_goes_on(city: Path) -> None:
    name = "transport-bureau/bus-arrival"
    assert act(city, "submit", ALICE, name=name)["stage"] == "published"
    assert policy(city) == (0, [])
    replaced(city, "    mlps: 3", "    mlps: 3\n    reviewedApps: true", "city.yaml")
    code, found = policy(city)
    assert code == 5
    assert sorted(found) == ["is deployed without a recorded review", "was never published with a record"]


def test_a_renamed_app_is_recorded_under_its_name_in_the_files(city: Path) -> None:
    moved = "moved: [{from: app/health-code, to: app/health-pass}]"
    replaced(city, "metadata: {name: health-code,", "metadata: {name: health-pass,")
    replaced(
        city, "metadata: {name: health-commission}\nspec:", f"metadata: {{name: health-commission}}\nspec:\n  {moved}"
    )
    name = "health-commission/health-pass"
    assert act(city, "submit", ALICE, name=name)["app"] == name
    assert act(city, "review", BOB, name=name)["stage"] == "reviewed"
    assert (city / "health-commission.health-pass.lifecycle.yaml").is_file()
    assert act(city, "publish", BOB, name=name)["stage"] == "published"
    shown = wecityctl("app", "show", city, name)
    assert shown.stdout.startswith(f"{name}: published"), shown.stdout + shown.stderr
    assert policy(city) == (0, [])


def test_actions_at_the_same_time_lose_no_record(city: Path) -> None:
    act(city, "submit", ALICE)
    with ThreadPoolExecutor(4) as threads:
        done = list(
            threads.map(lambda who: wecityctl("app", "submit", city, NAME, "--by", who), [ALICE, BOB, EVE, "x"])
        )
    assert [item.returncode for item in done] == [0, 0, 0, 0], [item.stderr for item in done]
    (document,) = yaml.safe_load_all((city / RECORDS).read_text())
    assert sorted(item["by"] for item in document["spec"]["records"]) == sorted([ALICE, ALICE, BOB, EVE, "x"])


def test_a_city_in_one_file_keeps_the_records_in_it(city: Path, tmp_path: Path) -> None:
    whole = tmp_path / "whole.yaml"
    whole.write_text("---\n".join(file.read_text() for file in sorted(city.glob("*.yaml"))).rstrip("\n"))
    for action, by in (("submit", ALICE), ("review", BOB), ("publish", BOB)):
        act(whole, action, by)
    assert wecityctl("validate", whole).returncode == 0
    assert whole.read_text().count("kind: Lifecycle") == 1


def test_line_breaks_and_a_byte_order_mark_stay(city: Path, tmp_path: Path) -> None:
    whole = tmp_path / "whole.yaml"
    text = "---\n".join(file.read_text() for file in sorted(city.glob("*.yaml")))
    whole.write_bytes(b"\xef\xbb\xbf" + text.replace("\n", "\r\n").encode())
    for action, by in (("submit", ALICE), ("review", BOB)):
        act(whole, action, by)
    data = whole.read_bytes()
    assert data.count(b"\xef\xbb\xbf") == 1
    assert data.startswith(b"\xef\xbb\xbf")
    assert data.count(b"\n") == data.count(b"\r\n")
    assert b"stage: 'reviewed'  # since May" in data


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("stage: 'draft'", "stage: &s draft", "the stage is written with an anchor"),
        ("stage: 'draft'", 'stage: "\\x64raft"', "the stage is written with an anchor, an alias, a tag or an escape"),
    ],
)
def test_a_stage_that_cannot_be_changed_in_place(city: Path, old: str, new: str, told: str) -> None:
    replaced(city, old, new)
    act(city, "submit", ALICE)
    assert told in refused(city, "review", BOB, code=2)


def test_records_that_somebody_wrote_otherwise(city: Path) -> None:
    act(city, "submit", ALICE)
    document = yaml.safe_load((city / RECORDS).read_text())
    (city / RECORDS).write_text(yaml.safe_dump(document, default_flow_style=True, width=1000))
    assert "are not written as a list with hyphens" in refused(city, "review", BOB, code=2)
    # Another indentation is kept, and so is what follows in the file: nothing is written into the wrong document.
    (city / RECORDS).write_text(yaml.safe_dump(document, sort_keys=False))
    act(city, "review", BOB)
    assert wecityctl("validate", city).returncode == 0
    (city / RECORDS).write_text((city / RECORDS).read_text() + "---\n" + (city / "city.yaml").read_text())
    (city / "city.yaml").unlink()
    assert "Lifecycle is not the last document of its file" in refused(city, "publish", BOB, code=2)


def test_files_that_cannot_be_written(city: Path) -> None:
    (city / RECORDS).mkdir()
    done = wecityctl("app", "submit", city, NAME, "--by", ALICE)
    assert done.returncode == 2
    assert f"{city / RECORDS} cannot be written: Is a directory" in done.stderr
    # One of two: the other gets its content back.
    there, nowhere = city / "city.yaml", city / "gone" / "x.yaml"
    before = there.read_bytes()
    with pytest.raises(ConfigurationError, match="No such file"):
        write_together({there: "changed", city / "new.yaml": "new", nowhere: "x"})
    assert there.read_bytes() == before
    assert not (city / "new.yaml").exists()


def test_unknown_apps_and_bare_commands(city: Path) -> None:
    done = wecityctl("app", "submit", city, "health-cod")
    assert done.returncode == 2
    assert NAME in done.stderr
    assert "Usage" in wecityctl("app").stdout + wecityctl("app").stderr
