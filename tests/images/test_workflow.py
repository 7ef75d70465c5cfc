"""The workflow engine's image: the tests of its Go program, and what is not among its jars.

That it starts and what it does is in `tests/attack/test_shared_workflow.py`.
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from stacks.platforms.application import workflow

FOLDER = Path(workflow.__file__).parent / "image"


@pytest.mark.build
def test_the_go_package() -> None:
    """Its own tests: which definitions are allowed, and how they are written for the engine."""
    done = subprocess.run(
        ["go", "test", "-trimpath", "-buildvcs=false", "-mod=readonly", "-vet=off", "./..."],
        cwd=FOLDER / "go",
        env={**os.environ, "CGO_ENABLED": "0", "GOFLAGS": "", "GOWORK": "off"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-20_000:] + done.stderr


def test_no_language_of_scripts_is_among_the_jars() -> None:
    """A definition that came past the door finds none to run. Whoever adds one reads the decision record first."""
    locked = [item["artifact"] for item in json.loads((FOLDER / "lock.json").read_text(encoding="utf-8"))["maven"]]
    assert "org.flowable:flowable-engine:7.2.0" in locked
    languages = ("groovy", "nashorn", "graal", "js-", "jython", "jruby", "kotlin", "velocity", "spring-boot-devtools")
    assert [item for item in locked if any(name in item for name in languages)] == []
