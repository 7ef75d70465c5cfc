"""The messages between the processes of a run: pickled values over a socket pair.

Only processes of one run, all from the same package version, exchange them; none is stored.
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
from wecityctl.inputs import StackInputs
from wecityctl.model.events import Event, KeptObject, Operation, ResourceChange

# Jobs contain read-only mappings, such as the catalogue, which `pickle` does not support by itself.
copyreg.pickle(MappingProxyType, lambda mapping: (MappingProxyType, (dict(mapping),)))


@dataclass(frozen=True, slots=True)
class Lifted:
    """A resource to register as it is in its state or, if `protected`, without its vendor's deletion protection.

    `provider` is the name of its provider, `dependencies` are URNs, `timeouts` are in seconds by operation, and `kept`
    says whether the engine protects the resource.
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
    """All that a worker needs for one stack's run.

    `program` is empty if the engine works from the state alone. `last_good` are the outputs that a failed run must
    preserve. `guarded` are the URNs that this run may not delete. `arguments` are those of the CLI; `before` are those
    of a CLI run that must succeed first (or empty). `lifted` are the resources that this first run registers, with the
    `providers`, instead of a program.

    Timeouts are in seconds, 0 for none: `stack_timeout` limits the whole run, `idle_timeout` the time in which the
    engine has no operation in progress and sends no event, `cancel_timeout` the time from an interrupt until the engine
    is killed.
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
    """The result of an engine run: the CLI's exit code, the changes, its messages, and the program's outputs if known.

    `conflicts` are the URNs of failed changes that conflicted with other field managers, `kept` the objects that
    only left the state.
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
    kept: tuple[KeptObject, ...] = ()


@dataclass(frozen=True, slots=True)
class ForecastOrder:
    """Programs to run offline, in this order; the answer maps each stack to its forecast."""

    program: str
    inputs: tuple[StackInputs, ...]


@dataclass(frozen=True, slots=True)
class Seen:
    """An event from a worker."""

    event: Event


@dataclass(frozen=True, slots=True)
class Done:
    report: Report


@dataclass(frozen=True, slots=True)
class Cancel:
    """Interrupt the engine: the first one asks it to stop cleanly, the second kills it.

    `timed_out`: the run's time limit has expired.
    """

    timed_out: bool = False


@dataclass(frozen=True, slots=True)
class PortRights:
    """What a run may do through its port of the built-in provider.

    `replace_data`: replace objects that hold data or other objects, as confirmed by the user. `take_over`: previews and
    adoptions override other field managers. `kubeconfigs`: digests of the kubeconfigs that the provider accepts.
    """

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
    """Serve a stack of the back end at `url` to the engine, for a preview or a change.

    `shown` is a deployment that replaces the stack's own state. `seal` encrypts and decrypts its secrets.
    """

    url: str = field(repr=False)
    stack: str
    previews: bool
    shown: dict[str, Any] | None = field(default=None, repr=False)
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
    """`error`: why the resulting state was not written; empty if it was."""

    error: str = ""


def pair() -> tuple[Connection, socket.socket]:
    """Return a connection for this process, and the socket to pass to the other process."""
    ours, theirs = socket.socketpair()
    return Connection(ours.detach()), theirs


def adopt(descriptor: int) -> Connection:
    """Return the connection on an inherited descriptor, which children will not inherit."""
    os.set_inheritable(descriptor, False)
    return Connection(descriptor)


async def incoming(connection: Connection) -> AsyncIterator[Any]:
    """Yield the messages of a connection until its other end is closed."""
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
