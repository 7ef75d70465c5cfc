"""Owns the processes of one run and starts each on first use: zygote, workers, provider host, state service."""

from __future__ import annotations

from collections.abc import Mapping
from multiprocessing.connection import Connection
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from wecityctl.engine.process.ipc import (
    ClosePort,
    CloseState,
    ForecastOrder,
    Job,
    Opened,
    OpenPort,
    OpenState,
    PortRights,
    StateClosed,
    StateOpened,
)
from wecityctl.engine.workers.forecast import Forecast
from wecityctl.engine.workers.pool import Pool
from wecityctl.engine.workers.workdir import Workdir
from wecityctl.errors import TimedOutError, WecityError
from wecityctl.inputs import StackInputs

_HERE = "wecityctl.engine"
# Far more than the largest city needs; a process that takes longer is taken to be stuck.
ANSWER_SECONDS = 600.0
# How long the engine collects journal entries before it sends them. At 5 ms it used 10 % more CPU; 30 ms saved nothing.
BATCH_MILLISECONDS = "15"
OWN_PROGRAMS = "stacks"
# Modules that every city's stacks load. The vendors' SDKs are large and are loaded only by workers that need them.
PRELOADED = (
    f"{OWN_PROGRAMS}.program",
    f"{OWN_PROGRAMS}.base.kubernetes",
    f"{OWN_PROGRAMS}.platforms.*",
    f"{OWN_PROGRAMS}.tenants.*",
    f"{OWN_PROGRAMS}.entry.*",
)


class Engine:
    """The processes of one run; use it as a context manager. All processes end with the block."""

    def __init__(self, program: str) -> None:
        self._program = program
        self._workdir: Workdir | None = None
        self._pool: Pool | None = None
        self._provider: Connection | None = None
        self._states: Connection | None = None
        self._served: set[str] = set()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for connection in (self._provider, self._states):
            if connection is not None:
                connection.close()
        if self._pool is not None:
            self._pool.close()
        if self._workdir is not None:
            self._workdir.close()

    @property
    def workdir(self) -> Workdir:
        """The run's temporary directory."""
        if self._workdir is None:
            self._workdir = Workdir()
        return self._workdir

    def warm_up(self, *, provider: bool = False, states: bool = False) -> None:
        """Start the zygote and, if asked, the provider host and the state service, so that they
        load in the background.
        """
        if self._pool is None:
            module = self._program.partition(":")[0]
            modules = PRELOADED if module.startswith(f"{OWN_PROGRAMS}.") else (module,) if module else ()
            self._pool = Pool(modules, self.workdir.path / "processes.log")
        if provider and self._provider is None:
            self._provider = self._pool.spawn(f"{_HERE}.workers.provider_host")
        if states and self._states is None:
            self._states = self._pool.spawn(f"{_HERE}.state_service.service")

    @property
    def unguarded(self) -> str:
        """Why other users of this machine can connect to the run's ports; empty if they cannot."""
        return self._pool.unguarded if self._pool is not None else ""

    def spawn(self, module: str) -> Connection:
        """Start a process that has the SDKs loaded and runs `module.main(descriptor)`; return the connection to it."""
        self.warm_up()
        assert self._pool is not None
        return self._pool.spawn(module)

    def start(self, job: Job) -> Connection:
        """Run a job in a worker; its events and its report arrive over the returned connection."""
        connection = self.spawn(f"{_HERE}.workers.worker")
        try:
            connection.send(job)
        except OSError as error:
            raise self.died() from error
        return connection

    def forecast(self, inputs: tuple[StackInputs, ...]) -> Mapping[str, Forecast]:
        """Return what the stacks' programs would register, by stack name."""
        connection = self.spawn(f"{_HERE}.workers.forecast")
        try:
            connection.send(ForecastOrder(self._program, inputs))
            answer: Mapping[str, Forecast] = self._answer(connection, "the stacks' programs to say what they register")
        except (EOFError, OSError) as error:
            raise self.died() from error
        finally:
            connection.close()
        return answer

    def open_state(self, order: OpenState) -> dict[str, str]:
        """Serve a stack's state to the engine; return the environment variables that point its CLI
        to this state only.
        """
        opened = self._ask_states(order)
        assert isinstance(opened, StateOpened)
        self._served.add(order.stack)
        return {
            "PULUMI_BACKEND_URL": opened.url,
            "PULUMI_ACCESS_TOKEN": opened.token,
            # The CLI's cached data about the service is deleted with the run.
            "PULUMI_CREDENTIALS_PATH": str(self.workdir.path / "credentials" / order.stack),
            "PULUMI_JOURNALING_BATCH_PERIOD": BATCH_MILLISECONDS,
        }

    def close_state(self, stack: str) -> str:
        """Finish the state of a stack whose engine has ended. Returns why it was not written; empty if it was."""
        if stack not in self._served:
            return ""
        self._served.discard(stack)
        closed = self._ask_states(CloseState(stack))
        assert isinstance(closed, StateClosed)
        return closed.error

    @property
    def state_service(self) -> Connection | None:
        """The connection to the state service. Between questions, it is readable only once the service has died."""
        return self._states

    def _ask_states(self, order: OpenState | CloseState) -> StateOpened | StateClosed:
        self.warm_up(states=True)
        assert self._states is not None
        try:
            self._states.send(order)
            answer: StateOpened | StateClosed = self._answer(self._states, "the state service")
        except (EOFError, OSError) as error:
            raise self.died("the state service has died") from error
        return answer

    def open_port(self, name: str, rights: PortRights) -> int:
        """Open a port of the built-in provider for one stack's run, and return it."""
        self.warm_up(provider=True)
        assert self._provider is not None
        try:
            self._provider.send(OpenPort(name, rights))
            answer = self._answer(self._provider, "the built-in provider to open a port")
        except (EOFError, OSError) as error:
            raise self.died("the built-in provider's process has died") from error
        assert isinstance(answer, Opened)
        if answer.error:
            raise WecityError("the built-in provider cannot serve", details=answer.error)
        return answer.port

    def close_port(self, port: int) -> None:
        """Close a port of the built-in provider after the stack's run."""
        if self._provider is not None:
            try:
                self._provider.send(ClosePort(port))
                self._answer(self._provider, "the built-in provider to close a port")
            except (EOFError, OSError) as error:
                raise self.died("the built-in provider's process has died") from error

    @staticmethod
    def _answer(connection: Connection, what: str) -> Any:
        """Return the next message of a process. Raises `TimedOutError` after `ANSWER_SECONDS`."""
        if not connection.poll(ANSWER_SECONDS):
            raise TimedOutError(f"waited {ANSWER_SECONDS:.0f} s for {what}", resolution="run it again")
        return connection.recv()

    def died(self, message: str = "a worker process has died") -> WecityError:
        """Return the error for a process that ended without a report, with its last output on stderr."""
        return WecityError(
            message,
            details=self._pool.last_words() if self._pool is not None else "",
            resolution="run again: the state was kept; `dmesg` tells whether the machine ran out of memory",
        )


def cli_path() -> Path:
    """Return the path of the engine's CLI. Raises `PartMissingError`, which says how to install it."""
    from wecityctl.toolchain import locate

    return locate("pulumi")
