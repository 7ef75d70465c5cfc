"""`wecityctl validate`: exit codes, streams and formats."""

import io
import json
import os
from pathlib import Path

import pytest

from tests.cli.program import ROOT, wecityctl
from wecityctl.cli._problems import show_problems
from wecityctl.errors import Problem

EXAMPLE = ROOT / "examples" / "xingcheng"
BAD = ROOT / "tests" / "spec" / "invalid"


def test_valid_city() -> None:
    done = wecityctl("validate", "examples/xingcheng")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == ("examples/xingcheng is valid: 1 City, 1 Cloud, 1 Platform, 2 Tenants, 3 Apps in 3 files\n")


def test_valid_city_as_json() -> None:
    done = wecityctl("validate", EXAMPLE, "-o", "json")
    result = json.loads(done.stdout)
    assert done.returncode == 0
    assert (result["format_version"], result["valid"], result["city"]) == ("1.0", True, "xingcheng")
    assert result["documents"] == {
        "City": 1,
        "Cloud": 1,
        "Platform": 1,
        "Tenant": 2,
        "App": 3,
        "Waiver": 0,
        "Lifecycle": 0,
    }


@pytest.mark.parametrize(
    ("case", "values"),
    [
        ("advice-that-would-be-refused-next", ("pa55", "12345678", "password: p", "hunter2")),
        ("registry-credentials-bad", ("user:password",)),
        ("secret-in-clear", ("hunter2", "pa55")),
        ("secret-in-files-and-scripts", ("PGPASSWORD: abc", "password: abc", "=abc")),
    ],
)
def test_what_may_be_a_secret_is_not_shown(case: str, values: tuple[str, ...]) -> None:
    file = BAD / f"{case}.yaml"
    assert [value for value in values if value in file.read_text()]
    done, as_json = wecityctl("validate", file), wecityctl("validate", file, "-o", "json")
    assert done.returncode == as_json.returncode == 2
    assert not [value for value in values if value in done.stderr + as_json.stdout]


def test_problems_come_with_their_line() -> None:
    done = wecityctl("validate", "quantity-with-space.yaml", cwd=BAD)
    assert (done.returncode, done.stdout) == (2, "")
    lines = done.stderr.splitlines()
    assert lines[0].startswith("quantity-with-space.yaml:32:29: spec.quota.memory: '4 GB' is not a quantity")
    assert lines[1].endswith("| " + '  quota: {cpu: "4", memory: 4 GB, storage: 50Gi}')
    assert lines[2].index("^") == lines[1].index("4 GB")
    assert lines[-1] == "error: 1 problem in 1 file"


def test_the_mark_is_under_the_value_after_wide_characters(tmp_path: Path) -> None:
    text = (BAD / "choice-wrong.yaml").read_text(encoding="utf-8")
    path = tmp_path / "wide.yaml"
    path.write_text(text.replace("stage: publised", "{name: x}").replace("title: 交通运输局", "title: [交通运输局, 2]"))
    done = wecityctl("validate", path)
    line, mark = next(
        (done.stderr.splitlines()[number + 1], done.stderr.splitlines()[number + 2])
        for number, found in enumerate(done.stderr.splitlines())
        if "spec.title" in found
    )
    assert mark.index("^") == line.index("[")


def test_problems_as_json() -> None:
    done = wecityctl("validate", BAD / "tenant-not-there.yaml", "-o", "json")
    (problem,) = json.loads(done.stdout)["problems"]
    assert (done.returncode, done.stderr) == (2, "")
    assert (problem["line"], problem["column"], problem["path"]) == (36, 31, "metadata.tenant")
    assert problem["suggestion"] == "transport"


def test_a_conflict_has_places_as_in_place() -> None:
    cases = ROOT / "tests" / "placement" / "cases"
    done = wecityctl("validate", "conflict-pin-and-domestic.yaml", cwd=cases)
    assert (done.returncode, done.stdout) == (2, "")
    assert "conflict-pin-and-domestic.yaml:64:10: app transport/records is pinned to cloud a" in done.stderr
    done = wecityctl("validate", "conflict-pin-and-domestic.yaml", "-o", "json", cwd=cases)
    assert done.returncode == 2
    found = json.loads(done.stdout)["error"]["conflict"]
    assert found[1]["place"] == "conflict-pin-and-domestic.yaml:64:10"


@pytest.mark.parametrize("name", sorted(path.name for path in BAD.iterdir() if path.name.startswith("encoding-")))
def test_encodings_never_break_the_screen(name: str) -> None:
    done = wecityctl("validate", BAD / name)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert "\x1b" not in done.stderr


def test_only_the_first_hundred_are_shown(tmp_path: Path) -> None:
    path = tmp_path / "many.yaml"
    path.write_text(
        "apiVersion: wecity.dev/v1alpha1\nkind: App\n" + "".join(f"field{number}: 1\n" for number in range(500))
    )
    done = wecityctl("validate", path)
    assert done.returncode == 2
    assert sum(line.startswith(str(path)) for line in done.stderr.splitlines()) == 100
    assert done.stderr.splitlines()[-1] == "error: 503 problems in 1 file (the first 100 are shown)"


def test_terminal_that_knows_no_chinese() -> None:
    done = wecityctl("validate", BAD / "placeholder-chinese.yaml", PYTHONIOENCODING="ascii")
    assert done.returncode == 2
    assert "\\u5f85\\u586b" in done.stderr


def test_file_whose_name_is_not_text(tmp_path: Path) -> None:
    path = os.fsencode(tmp_path) + b"/\xff\x1b[31m\n.yaml"
    Path(os.fsdecode(path)).write_text("kind: Nothing\n")
    done = wecityctl("validate", tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith(f"{tmp_path}/\\udcff\\x1b[31m\\n.yaml:1:7: kind: ")
    assert "is not a kind of document" in done.stderr
    assert "Traceback" not in done.stderr


def test_nothing_is_written(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    assert wecityctl("validate", EXAMPLE, home=home).returncode == 0
    assert list(home.rglob("*")) == []


def test_a_password_in_a_url_is_not_shown_with_its_line(tmp_path: Path) -> None:
    file = tmp_path / "city.yaml"
    file.write_text('kind: City\nspec: {state: {backend: "postgres://keeper:s3cr3t@db.example/x", other: 1}}\n')
    stream = io.StringIO()
    show_problems((Problem(str(file), 2, 8, "spec.state", "is wrong"),), tmp_path, stream, colour=False)
    assert "postgres://keeper:******@db.example/x" in stream.getvalue()
    assert "s3cr3t" not in stream.getvalue()
