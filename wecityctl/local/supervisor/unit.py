"""The life cycle of one service: waiting, starting, ready, dying, backing off, failing, stopping.

A ready service is probed for as long as it runs, and killed when it does not respond.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import time
from collections import deque
from pathlib import Path
from typing import Any, Protocol

from wecityctl.local.proctable import is_stopped
from wecityctl.local.service import Service
from wecityctl.local.spec import Death, ServiceState
from wecityctl.local.supervisor import probe as probes
from wecityctl.local.supervisor.child import Child, expand

_KEPT_DEATHS = 10
_FIRST_PAUSE = 0.5
_LONGEST_PAUSE = 10.0
# Probes without response, in a row, after which a service is killed. One alone may be due to a busy machine.
_SILENCES = 4
_AGAIN_SECONDS = 1.0
# A service is not probed again if the last response is younger.
_FRESH_SECONDS = 1.0


class World(Protocol):
    """The interface through which a unit sees the others."""

    def unit(self, name: str) -> Unit | None: ...

    def pid_of(self, name: str) -> int: ...

    def changed(self, unit: Unit) -> None:
        """The unit's state changed. Wakes those that wait in `wait_change`."""
        ...

    def died(self, unit: Unit, death: Death) -> None: ...

    async def wait_change(self) -> None: ...


class Unit:
    """One service. `run` is its whole life; cancelling it stops the process in order."""

    def __init__(self, service: Service, world: World, log: Path) -> None:
        self.service = service
        self.state: ServiceState = "waiting"
        self.reason = ""
        self.child: Child | None = None
        self.epoch = 0
        self.since = 0.0
        self.seconds = 0.0
        self.restarts = 0
        self.deaths: deque[Death] = deque(maxlen=_KEPT_DEATHS)
        # The number of deaths since it was last ready.
        self._in_vain = 0
        self._world = world
        self._log = log
        self._heard = False
        self._asked = 0.0
        self._hurry = asyncio.Event()

    @property
    def ready(self) -> bool:
        """Whether it became ready and responded to the last probe."""
        return self.state == "ready" and not self.reason

    def describe(self) -> dict[str, Any]:
        """The unit's status as JSON, with the fields of `spec.ServiceStatus`."""
        return {
            "name": self.service.name,
            "state": self.state,
            "pid": self.child.pid if self.child else 0,
            "since": self.since,
            "seconds": round(self.seconds, 3),
            "restarts": self.restarts,
            "required": self.service.required,
            "log": str(self._log),
            "reason": self.reason,
            "deaths": [{"at": each.at, "how": each.how, "lines": list(each.lines)} for each in self.deaths],
        }

    async def run(self) -> None:
        """Keep the service running until cancelled, or until it has died too often."""
        try:
            while not self._given_up():
                await self._wait_for_needs()
                how = await self._one_life()
                if how:
                    await self._mourn(how)
            lately = self._deaths_that_count() > self._in_vain
            often = f"in {self.service.retry_window:g} s" if lately else "without having been ready"
            self._enter("failed", f"died {self._deaths_that_count()} times {often}; not restarted")
        finally:
            if self.child is not None:
                self._enter("stopping")
                # Shielded: a second cancellation must not interrupt the wait for the end of the process.
                await asyncio.shield(self._end_child())
            if self.state != "failed":
                self._enter("stopped")

    async def probe(self) -> None:
        """Probe a ready service now, unless it was just probed. `reason` then says what is wrong."""
        if self.state == "ready" and time.monotonic() - self._asked > _FRESH_SECONDS:
            answer = await self._ask()
            if not answer.heard:
                self._hurry.set()

    async def _wait_for_needs(self) -> None:
        self._enter("waiting")
        while missing := [name for name in self.service.needs if not self._is_ready(name)]:
            self.reason = f"waits for {', '.join(missing)}"
            await self._world.wait_change()

    def _is_ready(self, name: str) -> bool:
        unit = self._world.unit(name)
        return unit is not None and unit.ready

    async def _one_life(self) -> str:
        """Start the process and wait for its end; returns how it died, or "" if it was ended because of `bound_to`."""
        self.epoch += 1
        self.since = time.time()
        bonds = self._bonds()
        try:
            argv = expand(self.service.argv, self._world.pid_of)
            self.child = Child.spawn(self.service, argv, self._log)
        except OSError as error:
            return f"cannot be started: {error}"
        self._enter("starting")
        tasks = {
            "exit": asyncio.create_task(self.child.wait()),
            "bond": asyncio.create_task(self._bond_broken(bonds)),
            "serve": asyncio.create_task(self._serve()),
        }
        try:
            return await self._first_end(self.child, tasks)
        finally:
            for task in tasks.values():
                task.cancel()
            # Not each by itself: who suppresses its cancellation suppresses that of this unit, too.
            await asyncio.wait(tasks.values())

    async def _first_end(self, child: Child, tasks: dict[str, asyncio.Task[Any]]) -> str:
        pending = set(tasks.values())
        while True:
            done, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
            if tasks["exit"] in done:
                return str(tasks["exit"].result())
            if tasks["bond"] in done:
                await self._end_child()
                return ""
            if tasks["serve"] in done:
                number, how = tasks["serve"].result()
                await child.end(number, self.service.stop_timeout)
                return str(how)

    async def _serve(self) -> tuple[int, str]:
        """Wait until the service must be killed; returns the first signal to send, and the reason."""
        if not await self._become_ready():
            return self.service.stop_signal, (
                f"was not ready after {self.service.ready_timeout:g} s ({self.reason}) and was killed"
            )
        await self._fall_silent()
        # Like a crash: a process that does not respond will hardly end in order, and what it runs, such as containerd's
        # containers, survives a crash.
        return signal.SIGKILL, f"did not answer {_SILENCES} times in a row ({self.reason}) and was killed"

    async def _become_ready(self) -> bool:
        """Probe until ready; returns false after `ready_timeout`."""
        probe, begin = self.service.ready, time.monotonic()
        while probe is not None:
            answer = await probes.ask(probe, started=self.since, pid_of=self._world.pid_of)
            if answer.ready:
                break
            self.reason = answer.reason
            if time.monotonic() - begin > self.service.ready_timeout:
                return False
            await asyncio.sleep(probe.interval)
        self.seconds = time.monotonic() - begin
        self._in_vain = 0
        self._enter("ready")
        return True

    async def _fall_silent(self) -> None:
        """Probe the ready service repeatedly; returns when it did not respond too often in a row."""
        began, silences = time.monotonic(), 0
        self._heard = self.service.ready is not None
        while silences < _SILENCES:
            await self._pause(again=silences > 0)
            answer = await self._ask()
            waited_for = self._heard or time.monotonic() - began > self.service.ready_timeout
            silences = silences + 1 if waited_for and not answer.heard else 0

    async def _pause(self, *, again: bool) -> None:
        """Wait for the time of the next probe, which is soon after a missing response, also one in `probe`."""
        if again:
            await asyncio.sleep(min(_AGAIN_SECONDS, self.service.watch_interval))
            return
        self._hurry.clear()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self.service.watch_interval):
                await self._hurry.wait()

    async def _ask(self) -> probes.Answer:
        """Probe once whether the service is alive, and set `reason`."""
        answer, epoch, probe = probes.READY, self.epoch, self.service.alive or self.service.ready
        if self.child is not None and is_stopped(self.child.pid):
            answer = probes.Answer("its process is stopped", heard=False)
        elif probe is not None:
            answer = await probes.ask(probe, started=0.0, pid_of=self._world.pid_of)
        if self.state == "ready" and self.epoch == epoch:
            self._asked = time.monotonic()
            self._heard = self._heard or answer.heard
            reason = answer.reason if self._heard else ""
            if reason != self.reason:
                self._enter("ready", reason)
        return answer

    def _bonds(self) -> dict[str, int]:
        units = ((name, self._world.unit(name)) for name in self.service.bound_to)
        return {name: unit.epoch for name, unit in units if unit is not None}

    async def _bond_broken(self, bonds: dict[str, int]) -> None:
        """Return when a service that this one is bound to has ended or was restarted."""
        while all(self._bond_holds(name, epoch) for name, epoch in bonds.items()):
            await self._world.wait_change()

    def _bond_holds(self, name: str, epoch: int) -> bool:
        unit = self._world.unit(name)
        return unit is not None and unit.child is not None and unit.epoch == epoch

    async def _mourn(self, how: str) -> None:
        """Record an unexpected death, report it, and wait before the next try."""
        lines = self.child.last_lines() if self.child else ()
        if self.child is not None:
            self.child.kill_rest()
        self.child = None
        death = Death(time.time(), how, lines)
        self.deaths.append(death)
        self._in_vain += 1
        self._enter("backoff", how)
        self._world.died(self, death)
        if not self._given_up():
            self.restarts += 1
            await asyncio.sleep(min(_LONGEST_PAUSE, _FIRST_PAUSE * 2 ** (self._deaths_that_count() - 1)))

    def _deaths_that_count(self) -> int:
        """The number of recent deaths, or of all since it was last ready if that is larger.

        The latter matters for programs that are killed a minute after each start for not becoming ready.
        """
        since = time.time() - self.service.retry_window
        return max(self._in_vain, sum(1 for death in self.deaths if death.at >= since))

    def _given_up(self) -> bool:
        return self._deaths_that_count() > min(self.service.retries, _KEPT_DEATHS - 1)

    async def _end_child(self) -> None:
        child = self.child
        if child is not None:
            await child.end(self.service.stop_signal, self.service.stop_timeout)
            self.child = None

    def _enter(self, state: ServiceState, reason: str = "") -> None:
        self.state, self.reason = state, reason
        self._world.changed(self)
