"""Whether this machine can carry a real node."""

from __future__ import annotations

import pytest

from wecityctl.local.node.capabilities import probe


def require_real_node() -> None:
    """Skip with what the machine lacks."""
    lacking = [f"{each.name}: {each.detail}" for each in probe() if each.required and not each.ok]
    if lacking:
        pytest.skip("this machine cannot carry a real node: " + "; ".join(lacking))
