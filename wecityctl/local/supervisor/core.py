"""Runs all services of one cloud, stops them in order, and notifies listeners of changes."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from wecityctl.local import logs
from wecityctl.local.service import Service
from wecityctl.local.spec import Death
from wecityctl.local.supervisor import orphans
from wecityctl.local.supervisor.unit import Unit

Event = dict[str, Any]
_HOUSEKEEPING_SECONDS = 60.0
# A PID namespace cannot end before its dead processes are reaped, and the supervisor may have adopted some of them.
_REAPING_SECONDS = 5.0


class Supervisor:
    """Runs services by name. `on_children` is called whenever the set of running processes changes."""

    def __init__(self, log_directory: Path, on_children: Callable[[dict[str, Any]], None]) -> None:
        self._logs = log_directory
        self._on_children = on_children
        self._units: dict[str, Unit] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._listeners: set[asyncio.Queue[Event]] = set()
        self._change = asyncio.Event()
        self._known_children: dict[str, int] = {}

    # The interface for units (unit.World)

    def unit(self, name: str) -> Unit | None:
        return self._units.get(name)

    def pid_of(self, name: str) -> int:
        unit = self._units.get(name)
        if unit is None or unit.child is None:
            raise OSError(f"service {name} does not run")
        return unit.child.pid

    def changed(self, unit: Unit) -> None:
        self._change.set()
        self._change = asyncio.Event()
        self._note_children()
        self._tell({"event": "service", **unit.describe()})

    def died(self, unit: Unit, death: Death) -> None:
        self._tell({"event": "death", "name": unit.service.name, "how": death.how, "lines": list(death.lines)})

    async def wait_change(self) -> None:
        await self._change.wait()

    # The interface for the control socket

    async def apply(self, services: Iterable[Service]) -> list[str]:
        """Run exactly `services`: stop removed or changed ones, start missing ones; returns the names of both."""
        wanted = {service.name: service for service in services}
        gone = {name for name, unit in self._units.items() if wanted.get(name) != unit.service}
        dead = {name for name, unit in self._units.items() if unit.state in ("failed", "stopped")}
        await self._stop_in_order(gone | dead)
        started = [service for name, service in wanted.items() if name not in self._units]
        for service in started:
            self._units[service.name] = Unit(service, self, self._logs / f"{service.name}.log")
        for service in started:
            self._tasks[service.name] = asyncio.create_task(self._units[service.name].run(), name=service.name)
        return sorted({service.name for service in started} | gone)

    async def stop(self) -> None:
        """Stop all services, dependents first."""
        await self._stop_in_order(set(self._units))

    def describe(self) -> list[dict[str, Any]]:
        return [unit.describe() for unit in self._units.values()]

    async def probe(self) -> None:
        """Probe every ready service now. One that fails is not ready, and its `reason` says why."""
        await asyncio.gather(*(unit.probe() for unit in list(self._units.values())))

    def outcome(self) -> str:
        """`ready`, `failed` (a required service is not restarted any more), or empty while undecided."""
        required = [unit for unit in self._units.values() if unit.service.required]
        if any(unit.state == "failed" for unit in required):
            return "failed"
        return "ready" if all(unit.ready for unit in required) else ""

    @contextlib.contextmanager
    def listen(self) -> Any:
        """A queue of events from now on."""
        queue: asyncio.Queue[Event] = asyncio.Queue()
        self._listeners.add(queue)
        try:
            yield queue
        finally:
            self._listeners.discard(queue)

    async def keep_house(self) -> None:
        """Limit the size of logs and reap adopted orphans, until cancelled."""
        seen: set[int] = set()
        loop = asyncio.get_running_loop()
        trimmed = loop.time()
        while True:
            await asyncio.sleep(_REAPING_SECONDS)
            if loop.time() - trimmed >= _HOUSEKEEPING_SECONDS:
                trimmed = loop.time()
                for name in list(self._units):
                    logs.trim(self._logs / f"{name}.log")
            ours = {unit.child.pid for unit in self._units.values() if unit.child is not None}
            # Seen twice: the processes of probes never live that long.
            seen = orphans.reap(seen - ours)

    async def _stop_in_order(self, names: set[str]) -> None:
        left = set(names)
        while left:
            # Services that no other remaining one needs. There are no cycles (see `check_services`), but never loop
            # forever.
            layer = {name for name in left if not any(name in self._units[each].service.needs for each in left)} or left
            await asyncio.gather(*(self._stop_one(name) for name in layer))
            left -= layer

    async def _stop_one(self, name: str) -> None:
        task = self._tasks.pop(name, None)
        if task is not None:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
        self._units.pop(name, None)
        self._note_children()

    def _note_children(self) -> None:
        children = {name: unit.child.identity for name, unit in self._units.items() if unit.child is not None}
        pids = {name: identity.pid for name, identity in children.items()}
        if pids != self._known_children:
            self._known_children = pids
            self._on_children({name: identity.to_json() for name, identity in children.items()})

    def _tell(self, event: Event) -> None:
        for queue in self._listeners:
            queue.put_nowait(event)


def check_services(services: Iterable[Service]) -> None:
    """Raise ValueError for duplicate names, unknown dependencies and cycles."""
    by_name: dict[str, Service] = {}
    for service in services:
        if service.name in by_name:
            raise ValueError(f"two services are called {service.name}")
        by_name[service.name] = service
    for service in by_name.values():
        for need in service.needs:
            if need not in by_name:
                raise ValueError(f"service {service.name} needs {need}, which there is not")
    done: set[str] = set()
    while len(done) < len(by_name):
        free = {name for name, service in by_name.items() if name not in done and set(service.needs) <= done}
        if not free:
            raise ValueError("services need one another in a circle: " + ", ".join(sorted(set(by_name) - done)))
        done |= free
