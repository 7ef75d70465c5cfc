"""An S3 server that asks for fewer requests."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.objects.unconditional_s3 import unconditional_s3
from wecityctl.errors import DeploymentError
from wecityctl.objects import Limits, Objects, open_objects
from wecityctl.objects.idempotent_writes import LostAnswerError, repeat

SLOW_DOWN = b"<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>"
# Fewer attempts than are refused below.
LIMITS = Limits(seconds=5.0, attempts=2, pause=0.001, busy_attempts=5, busy_pause=0.001)
ACTS: dict[str, Callable[[Objects], object]] = {
    "put": lambda objects: objects.put("a", b"1"),
    "get": lambda objects: objects.get("a"),
    "exists": lambda objects: objects.exists("a"),
    "create": lambda objects: objects.create("b", b"1"),
    "list": lambda objects: objects.list(),
    "delete": lambda objects: objects.delete("a"),
}


@pytest.mark.parametrize("content", [SLOW_DOWN, b""], ids=["told", "bare"])
def test_it_is_waited_for(content: bytes) -> None:
    busy: list[bytes] = []
    with unconditional_s3(busy=busy) as url:
        objects = open_objects(url, LIMITS)
        for name, act in ACTS.items():
            busy.extend([content] * 4)
            act(objects)
            assert not busy, name
        objects.close()


def test_it_is_not_waited_for_without_end() -> None:
    busy: list[bytes] = []
    with unconditional_s3(busy=busy) as url:
        objects = open_objects(url, LIMITS)
        busy.extend([SLOW_DOWN] * 100)
        with pytest.raises(DeploymentError, match="no usable answer after 6 attempts") as refused:
            objects.put("a", b"1")
        assert len(busy) == 94
        assert "SlowDown" in refused.value.details and "too much to do" in refused.value.resolution
        objects.close()


def test_other_faults_count_beside_it() -> None:
    kinds = iter((True, False, True, True, False))

    def act() -> None:
        raise LostAnswerError("lost", is_busy=next(kinds))

    with pytest.raises(DeploymentError, match="after 5 attempts") as refused:
        repeat(LIMITS, act, "read x")
    assert "can be reached" in refused.value.resolution
