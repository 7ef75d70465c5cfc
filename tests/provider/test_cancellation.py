"""Throwing the switch ends waits at once and lets changes finish."""

from __future__ import annotations

import asyncio

import pytest

from wecityctl.errors import CancelledError
from wecityctl.provider.cancellation import Cancellation


async def test_waits_end_at_once_and_changes_finish() -> None:
    switch = Cancellation()
    waiting = asyncio.create_task(switch.run(asyncio.sleep(60)))
    changing = asyncio.create_task(switch.run(asyncio.sleep(0.1, "done"), grace=5))
    hanging = asyncio.create_task(switch.run(asyncio.sleep(60), grace=0.2))
    await asyncio.sleep(0.01)
    switch.throw()
    with pytest.raises(CancelledError):
        await asyncio.wait_for(waiting, 0.05)
    assert await changing == "done"
    with pytest.raises(CancelledError):
        await asyncio.wait_for(hanging, 1)
    with pytest.raises(CancelledError):
        await switch.run(asyncio.sleep(0))


async def test_a_dropped_call_is_no_cancellation_of_ours() -> None:
    switch = Cancellation()
    waiting = asyncio.create_task(switch.run(asyncio.sleep(60)))
    await asyncio.sleep(0.01)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert await switch.run(asyncio.sleep(0, "still works")) == "still works"


async def test_errors_come_through() -> None:
    async def fail() -> None:
        raise ValueError("mine")

    with pytest.raises(ValueError, match="mine"):
        await Cancellation().run(fail())
