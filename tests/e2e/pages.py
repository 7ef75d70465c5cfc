"""Runs the commands of a documentation page that are for a city of these tests, in the city's directory."""

from __future__ import annotations

import os
import subprocess

from tests.docs.blocks import ROOT, blocks_of, matches, steps_of
from tests.e2e.files import CityFiles
from tests.e2e.machine import PROGRAM, Machine


def follow(home: Machine, city: CityFiles, page: str, need: str) -> int:
    """Run the steps of the blocks of `docs/how-to/PAGE` that have this need; return their number."""
    steps = [
        step for block in blocks_of(ROOT / "docs" / "how-to" / page) if block.need == need for step in steps_of(block)
    ]
    path = f"{PROGRAM.parent}:{os.environ['PATH']}"
    for step in steps:
        done = subprocess.run(
            ["bash", "-c", f"set -eu -o pipefail\n{step.command}"],
            cwd=city.directory,
            env=home.environment(PATH=path),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.returncode == 0, f"{step.command}\n{done.stdout}"
        assert not step.expected or matches(step.expected, done.stdout), f"{step.command}\n{done.stdout}"
    return len(steps)
