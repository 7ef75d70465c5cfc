"""`wecityctl images`, as a user runs it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.images.conftest import make_cache


def images(*arguments: str, cache: Path, state: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "XDG_CACHE_HOME": str(cache), "XDG_STATE_HOME": str(state), "NO_COLOR": "1"}
    return subprocess.run(
        [sys.executable, "-c", "from wecityctl.cli.main import main; main()", "images", *arguments],
        env=environment, capture_output=True, text=True, timeout=300,
    )  # fmt: skip


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return make_cache(tmp_path / "cache")


@pytest.mark.build
def test_build_list_and_build_again(home: Path, tmp_path: Path) -> None:
    first = images("build", "pause", "-o", "json", cache=home, state=tmp_path)
    assert first.returncode == 0, first.stderr
    (image,) = json.loads(first.stdout)["images"]
    assert Path(image["archive"]).is_file()
    assert "pause       built" in first.stderr
    listed = json.loads(images("list", "-o", "json", cache=home, state=tmp_path).stdout)
    built = {item["name"]: item["built"] for item in listed["images"]}
    assert built["pause"]["digest"] == image["digest"]
    assert built["postgresql"] is None
    again = images("build", "pause", cache=home, state=tmp_path)
    assert image["digest"] in again.stdout
    assert "pause       cached" in again.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("build", "postgres"), "no image called 'postgres'"),
        (("build", "--locked", "--update-lock"), "exclude each other"),
        (("load", "--cloud", "nowhere"), "no embedded cloud called 'nowhere'"),
    ],
)
def test_wrong_use(home: Path, tmp_path: Path, arguments: tuple[str, ...], message: str) -> None:
    done = images(*arguments, cache=home, state=tmp_path)
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr
