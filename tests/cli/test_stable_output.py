"""What is written can lie in a repository: two processes with other hash seeds write the same bytes."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.cli.program import ROOT

pytestmark = pytest.mark.program
COMMANDS = (
    "render examples/xingcheng",
    "graph examples/four-clouds",
    "graph examples/four-clouds -o json",
    "graph examples/four-clouds -o svg",
    "place examples/four-clouds --offline --explain",
    "place examples/four-clouds --offline -o json",
    "policy check examples/xingcheng -o json",
    "policy report examples/xingcheng --offline --format json",
    "policy report examples/xingcheng --offline --format html",
    "policy list -o json",
    "schema",
    "explain app.spec",
    "validate examples/xingcheng -o json",
)
# One process for all of them, as loading the SDKs takes longest; each one's output and exit code.
PROGRAM = """
import json, sys
from contextlib import redirect_stdout
from io import StringIO
from wecityctl.cli.main import run
found = []
for command in sys.argv[1:]:
    with redirect_stdout(StringIO()) as out:
        code = run(command.split())
    found.append((code, out.getvalue()))
print(json.dumps(found))
"""
# When it was written is part of a report.
TIME = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d)?(\.\d+)?(Z|\+00:00)?")


@pytest.fixture(scope="module")
def outputs(tmp_path_factory: pytest.TempPathFactory) -> list[list[tuple[int, str]]]:
    """What each of two processes writes for each of the commands."""
    home = tmp_path_factory.mktemp("home")
    base = {key: value for key, value in os.environ.items() if not key.startswith("XDG_")} | {"HOME": str(home)}
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", PROGRAM, *COMMANDS],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env=base | {"PYTHONHASHSEED": seed},
        )
        for seed in ("1", "2")
    ]
    written = [process.communicate(timeout=300) for process in processes]
    assert all(process.returncode == 0 for process in processes), written
    return [[(code, TIME.sub("", text)) for code, text in json.loads(out)] for out, _ in written]


@pytest.mark.parametrize("command", COMMANDS)
def test_the_same_is_written_by_every_process(outputs: list[list[tuple[int, str]]], command: str) -> None:
    first, second = (written[COMMANDS.index(command)] for written in outputs)
    assert first[0] == 0
    assert len(first[1]) > 100
    assert first == second


def test_manifests_have_their_keys_in_the_usual_order(outputs: list[list[tuple[int, str]]]) -> None:
    manifests = list(yaml.safe_load_all(outputs[0][0][1]))
    assert len(manifests) > 100
    for manifest in manifests:
        assert list(manifest)[:3] == ["apiVersion", "kind", "metadata"]
        assert list(manifest)[3:] == sorted(list(manifest)[3:])
        assert next(iter(manifest["metadata"])) == "name"
    deployment = next(item for item in manifests if item["kind"] == "Deployment")
    container = list(deployment["spec"]["template"]["spec"]["containers"][0])
    assert container[0] == "name"
    assert container[1:] == sorted(container[1:])


def test_a_directory_is_written_as_the_stream_is(outputs: list[list[tuple[int, str]]], tmp_path: Path) -> None:
    from wecityctl.cli.main import run

    assert run(["render", str(ROOT / "examples" / "xingcheng"), "--directory", str(tmp_path / "out")]) == 0
    files = sorted((tmp_path / "out").rglob("*.yaml"))
    stream = dict(re.findall(r"^---\n# (\S+)\n(.*?)(?=^---\n|\Z)", outputs[0][0][1], re.M | re.S))
    assert [path.relative_to(tmp_path / "out").as_posix() for path in files] == sorted(stream)
    assert all(
        path.read_text(encoding="utf-8").strip() == stream[path.relative_to(tmp_path / "out").as_posix()].strip()
        for path in files
    )
