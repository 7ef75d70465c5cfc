"""What the processes of a run say to each other: pickled values over a socket pair.

Only processes of one run, all started from the same package, ever speak this; nothing of it is stored.
"""

from __future__ import annotations

import asyncio
import copyreg
import os
import socket
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from types import MappingProxyType
from typing import Any

from wecityctl.engine.secrets.sealing import Seal
from wecityctl.engine.state.checkpoint import Deployment
from wecityctl.inputs import StackInputs
from wecityctl.model.events import Event, Operation, ResourceChange

# The catalogue and other read-only mappings travel to the workers.
copyreg.pickle(MappingProxyType, lambda mapping: (MappingProxyType, (dict(mapping),)))


@dataclass(frozen=True, slots=True)
class Lifted:
    """A resource to be registered as its state has it, or, if it is `protected`, without its vendor's protection.

    `provider` is the name of its provider, `dependencies` are URNs, `timeouts` seconds by operation, `kept` whether the
    engine protects it.
    """

    urn: str
    type: str
    name: str
    inputs: Mapping[str, Any] = field(repr=False)
    provider: str
    protected: bool
    dependencies: tuple[str, ...] = ()
    timeouts: Mapping[str, float] = field(default_factory=dict)
    kept: bool = False


@dataclass(frozen=True, slots=True)
class Job:
    """One stack's run, complete: a worker needs nothing else.

    `program` is empty where the engine works from the state alone. `last_good` are the outputs that a failed run must
    not lose. `known` are the URNs in the state, `guarded` those of them that may not disappear in this run.
    `arguments` go to the CLI as they are; `before` are those of a run of the CLI that must succeed first (or empty).
    `lifted` is what that first run registers, beside the `providers`, in the place of a program.
    Timeouts are seconds, 0 for none: `stack_timeout` bounds the whole run, `idle_timeout` the time in which the engine
    may have nothing under way and say nothing, `cancel_timeout` the time from an interrupt until the engine is killed.
    """

    stack: str
    operation: Operation
    program: str
    inputs: StackInputs | None
    cli: str
    arguments: tuple[str, ...]
    directory: str
    environment: Mapping[str, str] = field(repr=False)
    last_good: Mapping[str, Any] | None = None
    guarded: frozenset[str] = frozenset()
    providers: tuple[Mapping[str, Any], ...] = field(default=(), repr=False)
    values: Mapping[str, str] | None = field(default=None, repr=False)
    stack_timeout: float = 0.0
    cancel_timeout: float = 60.0
    idle_timeout: float = 0.0
    before: tuple[str, ...] = ()
    lifted: tuple[Lifted, ...] = field(default=(), repr=False)


@dataclass(frozen=True, slots=True)
class Report:
    """How the engine ended: the CLI's exit code, what it did, what it said, and the program's outputs where known.

    `conflicts` are the failed changes (URNs) that state fields which other managers have changed.
    """

    exit_code: int
    changes: tuple[ResourceChange, ...]
    unchanged: int
    errors: tuple[str, ...]
    warnings: tuple[str, ...]
    outputs: Mapping[str, Any] | None
    seconds: float
    cancelled: bool = False
    timed_out: bool = False
    failed: tuple[ResourceChange, ...] = ()
    conflicts: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ForecastOrder:
    """Programs to be run offline, in this order; the answer maps each stack to its forecast."""

    program: str
    inputs: tuple[StackInputs, ...]


@dataclass(frozen=True, slots=True)
class Seen:
    """A worker's event."""

    event: Event


@dataclass(frozen=True, slots=True)
class Done:
    report: Report


@dataclass(frozen=True, slots=True)
class Cancel:
    """Interrupt the engine: once asks it to stop in order, twice kills it.

    `timed_out`: because the run's time is over.
    """

    timed_out: bool = False


@dataclass(frozen=True, slots=True)
class PortRights:
    """What a run may do through its port. `replace_data`: replace what holds other objects or data, as the user has
    confirmed. `take_over`: previews and adoptions apply over other managers' changes. `kubeconfigs`: the digests of
    those it may be configured with."""

    replace_data: bool = False
    take_over: bool = False
    kubeconfigs: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class OpenPort:
    name: str
    rights: PortRights = PortRights()


@dataclass(frozen=True, slots=True)
class ClosePort:
    port: int


@dataclass(frozen=True, slots=True)
class Opened:
    port: int
    error: str = ""


@dataclass(frozen=True, slots=True)
class OpenState:
    """Serve a stack of the back end at `url` to the engine: for a preview or a change, with its own state or with the
    one that it is `shown`. The `seal` keeps its secrets."""

    url: str = field(repr=False)
    stack: str
    previews: bool
    shown: Deployment | None = field(default=None, repr=False)
    seal: Seal | None = None


@dataclass(frozen=True, slots=True)
class CloseState:
    stack: str


@dataclass(frozen=True, slots=True)
class StateOpened:
    url: str
    token: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class StateClosed:
    """`error`: why the stack has not the state that it should have; empty where it has."""

    error: str = ""


def pair() -> tuple[Connection, socket.socket]:
    """A connection for this process and the socket to hand to the other one."""
    ours, theirs = socket.socketpair()
    return Connection(ours.detach()), theirs


def adopt(descriptor: int) -> Connection:
    """The connection on an inherited descriptor, kept from further children."""
    os.set_inheritable(descriptor, False)
    return Connection(descriptor)


async def incoming(connection: Connection) -> AsyncIterator[Any]:
    """The messages that come over a connection, until its other end is closed."""
    loop = asyncio.get_running_loop()
    messages: asyncio.Queue[Any] = asyncio.Queue()

    def receive() -> None:
        try:
            messages.put_nowait(connection.recv())
        except (EOFError, OSError):
            loop.remove_reader(connection.fileno())
            messages.put_nowait(None)

    loop.add_reader(connection.fileno(), receive)
    while (message := await messages.get()) is not None:
        yield message
