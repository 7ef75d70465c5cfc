"""The agent's main loop: waits for changes, compiles and loads the rules, and answers the CNI plug-in.

It loads nothing before all objects are known. Loaded rules stay in the kernel when the agent ends for any reason.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from wecityctl.errors import WecityError
from wecityctl.kube.client import KubeClient
from wecityctl.local.netpol import kernel
from wecityctl.local.netpol.compile import compile_state
from wecityctl.local.netpol.control import Control
from wecityctl.local.netpol.model import State
from wecityctl.local.netpol.placing import place
from wecityctl.local.netpol.records import Records
from wecityctl.local.netpol.render import write
from wecityctl.local.netpol.store import Store

_log = logging.getLogger(__name__)
# Changes come in bursts, for example the pods of a roll-out, or a namespace with its policies.
DEBOUNCE_SECONDS = 0.02
RETRY_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Loaded:
    """What is loaded in the kernel."""

    script: str = ""
    containers: frozenset[str] = frozenset()
    pods: int = 0
    policies: int = 0
    seconds: float = 0.0
    round: int = 0


@dataclass(frozen=True, slots=True)
class Settings:
    """The agent's settings. Without `records`, pod addresses are taken from the pods' status."""

    pod_cidr: str
    socket: Path | None = None
    records: Path | None = None
    check_seconds: float = 30.0


class Agent:
    """The agent of one node. `load` loads an nft script into the kernel."""

    def __init__(self, settings: Settings, client: KubeClient, load: Callable[[str], None] = kernel.load) -> None:
        self._settings = settings
        self._client = client
        self._load = load
        self._records = Records(settings.records) if settings.records else None
        self._dirty = asyncio.Event()
        self._store = Store(settings.pod_cidr, self._records, self._dirty.set)
        self._loaded = Loaded()
        self._round = 0
        self._news = asyncio.Condition()

    async def run(self) -> None:
        """Run until cancelled. The control socket is opened after the first rules are loaded."""
        control = Control(self._settings.socket, self._answer) if self._settings.socket else None
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._store.follow(self._client))
                group.create_task(self._check())
                await self._next()
                if control is not None:
                    await control.open()
                while True:
                    await self._next()
        finally:
            if control is not None:
                await control.close()

    async def _next(self) -> None:
        """Load the next change; retries until it succeeds."""
        while True:
            await self._dirty.wait()
            await asyncio.sleep(DEBOUNCE_SECONDS)
            self._dirty.clear()
            self._round += 1
            if self._records is not None:
                self._records.look()
            if not self._store.complete:
                continue
            try:
                # In a thread, so that the control socket and the watches are served meanwhile.
                loaded = await asyncio.to_thread(self._apply, self._store.state(), self._loaded.script, self._round)
            except WecityError as error:
                _log.error("%s: %s; the former rules stay", error.message, error.details)
                self._dirty.set()
                await asyncio.sleep(RETRY_SECONDS)
                continue
            async with self._news:
                self._loaded = loaded
                self._news.notify_all()
            return

    def _apply(self, state: State, former: str, number: int) -> Loaded:
        began = time.monotonic()
        placement = place(state)
        script = write(compile_state(state, placement))
        if script != former:
            self._load(script)
            seconds = time.monotonic() - began
            _log.info(
                "%d pods, %d policies in force (%.0f ms)", len(placement.local), len(state.policies), seconds * 1000
            )
        return Loaded(
            script=script,
            containers=placement.containers,
            pods=len(placement.local),
            policies=len(state.policies),
            seconds=time.monotonic() - began,
            round=number,
        )

    async def _check(self) -> None:
        """Load the table again if somebody removed it, because without it all traffic is allowed."""
        while True:
            await asyncio.sleep(self._settings.check_seconds)
            with suppress(WecityError):
                if self._loaded.script and not await asyncio.to_thread(kernel.table_exists):
                    _log.error("the table is gone; loading it again")
                    self._loaded = Loaded()
                    self._dirty.set()

    async def _answer(self, question: str) -> str:
        """Answer a question: `in X` when sandbox X has its rules; `out X` when its addresses are blocked; `state` with
        JSON.
        """
        word, _, container = question.partition(" ")
        if word == "state":
            loaded = self._loaded
            return json.dumps({"pods": loaded.pods, "policies": loaded.policies, "seconds": round(loaded.seconds, 4)})
        if word not in ("in", "out") or self._records is None:
            return "no"
        # Only a round that starts after the question is sure to have seen that the plug-in added or removed its file.
        asked, wanted = self._round, word == "in"
        self._dirty.set()
        async with self._news:
            await self._news.wait_for(
                lambda: self._loaded.round > asked and (container in self._loaded.containers) == wanted
            )
        return "yes"
