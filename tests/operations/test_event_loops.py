"""Operations that are called from within a running event loop, as in a notebook or a server."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import pytest

from tests.operations.conftest import ADOPTED, SIMULATED, write_city
from tests.operations.test_reading import silent_kubeconfig
from wecityctl.engine.process.interrupts import time_limit
from wecityctl.errors import TimedOutError
from wecityctl.event_loops import run_async
from wecityctl.operations.clouds import clouds
from wecityctl.operations.render import render
from wecityctl.session import open_session

__all__ = ["silent_kubeconfig"]

T = TypeVar("T")


def in_a_loop(call: Callable[[], T]) -> T:
    async def main() -> T:
        return call()

    return asyncio.run(main())


def test_what_reads_a_cluster_works_in_a_running_loop(tmp_path: Path, silent_kubeconfig: Path) -> None:
    files = write_city(tmp_path, "silent", ADOPTED.format(silent_kubeconfig))
    found = in_a_loop(lambda: clouds(files))
    assert "127.0.0.1" in found.errors["main"].message


def test_manifests_are_rendered_in_a_running_loop(tmp_path: Path) -> None:
    session = open_session(write_city(tmp_path, "looped", SIMULATED))
    rendered = in_a_loop(lambda: render(session))
    assert rendered
    assert rendered == render(session)


def test_an_interrupt_ends_a_coroutine_in_another_thread() -> None:
    def wait() -> None:
        with time_limit(0.2, lambda: ""):
            run_async(asyncio.sleep(60))

    begun = time.monotonic()
    with pytest.raises(TimedOutError):
        in_a_loop(wait)
    assert time.monotonic() - begun < 30
