"""The program before the MQTT server: the Go package's own tests, of packets, limits and names."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from stacks.platforms.data import iot

pytestmark = [pytest.mark.build, pytest.mark.by_digest, pytest.mark.timeout(300)]


def test_packets_limits_and_names() -> None:
    done = subprocess.run(
        ["go", "test", "-trimpath", "-buildvcs=false", "-mod=readonly", "-vet=off", "."],
        cwd=Path(iot.__file__).parent / "image/go",
        env={**os.environ, "CGO_ENABLED": "0", "GOFLAGS": "", "GOWORK": "off"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
