"""What `status` says of stacks that a `destroy` has taken down."""

from __future__ import annotations

import pytest

from wecityctl.operations.status.judging import _without_resources
from wecityctl.operations.status.values import Away, StackStatus


@pytest.mark.parametrize(
    ("stopped", "end"),
    [({}, "Z"), ({"main": "cloud main is stopped"}, "Z; kept objects unknown: cloud main is stopped")],
)
def test_what_a_stopped_cloud_has_kept_is_unknown(stopped: dict[str, str], end: str) -> None:
    known = StackStatus("xc.base.main", "base", 0, "", planned=True, cloud="main")
    state, reason = _without_resources(known, 1.0, Away(stopped=stopped), is_needed=True)
    assert state == "taken-down"
    assert reason == f"made, and taken down at 1970-01-01T00:00:01{end}"
