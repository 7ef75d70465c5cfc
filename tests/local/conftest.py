"""Clouds of the tests lie in a state directory of their own; whatever a test leaves running is ended with it."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from wecityctl.errors import WecityError
from wecityctl.local import cloud, store


@pytest.fixture
def state_home(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty XDG state directory, with short paths and no clouds left when the test is over."""
    with tempfile.TemporaryDirectory(prefix="wecity-test-") as directory:
        monkeypatch.setenv("XDG_STATE_HOME", directory)
        try:
            yield Path(directory)
        finally:
            clean(directory)


def clean(directory: str) -> None:
    """Reset every cloud below the state directory."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", directory)
        for name in store.names():
            with contextlib.suppress(WecityError):
                cloud.reset(name)
