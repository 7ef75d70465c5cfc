"""Whether this machine can carry a real node, and room for its watches beside those of the other worker's clusters."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest

from wecityctl.local.node.capabilities import probe

_INSTANCES = Path("/proc/sys/fs/inotify/max_user_instances")
# Two nodes take about 100 of the kernel's default of 128, and the other worker's control planes want some too.
_WANTED = 512


def require_real_node() -> None:
    """Skip with what the machine lacks. The kernel's limit of inotify instances is raised, until it starts again."""
    # Where it cannot be raised, the probe below says what is missing.
    with contextlib.suppress(OSError):
        if int(_INSTANCES.read_text()) < _WANTED:
            _INSTANCES.write_text(f"{_WANTED}\n")
    lacking = [f"{each.name}: {each.detail}" for each in probe() if each.required and not each.ok]
    if lacking:
        pytest.skip("this machine cannot carry a real node: " + "; ".join(lacking))
