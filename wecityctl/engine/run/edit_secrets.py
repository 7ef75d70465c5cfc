"""Changes values in the city's secret store for the command line, by a run of the store's stack."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping

from wecityctl.engine.context.options import RunOptions
from wecityctl.engine.context.secret_store import SecretStore, with_generated
from wecityctl.engine.process.interrupts import Interrupts
from wecityctl.engine.process.ipc import Job, PortRights, Report
from wecityctl.engine.process.outcome import result_of
from wecityctl.engine.run.jobs import JobMaker
from wecityctl.engine.run.loop import Loop
from wecityctl.engine.run.schedule import Schedule
from wecityctl.engine.state.abandoned_locks import break_dead
from wecityctl.engine.state.backend import Backend
from wecityctl.engine.state.records import discard
from wecityctl.engine.state.run_locks import part_of_city
from wecityctl.engine.workers.engine import Engine
from wecityctl.errors import CancelledError, ConfigurationError, DeploymentError
from wecityctl.model.events import StackResult

# How many replaced values the store keeps of one. They are short, and each costs a server one refused sign-in.
REPLACED = 20


def set_secret(backend: Backend, name: str, value: str) -> None:
    """Store `value` under `name`, replacing an existing value."""
    _write(backend, lambda values: {**values, name: value})


def remove_secret(backend: Backend, name: str) -> None:
    """Remove a value. The next `up` generates it again if it is a generated one that is still needed."""

    def without(values: dict[str, str]) -> dict[str, str]:
        if name not in values:
            raise ConfigurationError(
                f"there is no secret {name!r}", details="there are: " + (", ".join(sorted(values)) or "none")
            )
        return {key: kept for key, kept in values.items() if key != name}

    _write(backend, without)


def renew_generated(backend: Backend, names: Mapping[str, str]) -> None:
    """Put a new generated value in the place of each of `names`.

    The replaced value goes before those under the name that `names` has for it, of which the latest `REPLACED` stay;
    it is lost where that is empty. Until an `up` has brought a value in, a server may have any of them.
    """

    def renewed(values: dict[str, str]) -> Mapping[str, str]:
        replaced = {
            previous: "\n".join([values[name], *values.get(previous, "").splitlines()][:REPLACED])
            for name, previous in names.items()
            if previous
        }
        return with_generated(names, {**{k: v for k, v in values.items() if k not in names}, **replaced})

    _write(backend, renewed)


class _Write:
    def __init__(self, backend: Backend, maker: JobMaker, values: Mapping[str, str]) -> None:
        self._backend = backend
        self._maker = maker
        self._values = values

    def skip_reason(self, stack: str) -> StackResult | None:
        return None

    def job(self, stack: str, open_port: Callable[[PortRights], int]) -> Job:
        break_dead(self._backend, stack)
        if self._backend.states is not None:
            discard(self._backend.states, stack)
        return self._maker.make(stack, "up", state=self._backend.read_state(stack), values=self._values)

    def report(self, stack: str, report: Report) -> StackResult:
        return result_of(stack, report)

    def has_outputs(self, stack: str) -> bool:
        return False

    def serves(self, stack: str) -> Collection[str]:
        return ()

    def afterwards(self, stack: str) -> Callable[[], None] | None:
        return None


def _write(backend: Backend, change: Callable[[dict[str, str]], Mapping[str, str]]) -> None:
    backend.unlock()
    store = SecretStore(backend)
    stack, options = store.stack, RunOptions("up", program="")
    with part_of_city(backend, (), (stack,)):
        # Read with the lock held, so that values stored by another run are preserved.
        values = change(store.read())
        with Engine("") as engine, Interrupts() as interrupts:
            task = _Write(backend, JobMaker(backend, engine, options), values)
            result = Loop(task, Schedule({stack: ()}), engine, interrupts, lambda event: None, 1).go()[stack]
    if result.outcome == "cancelled":
        raise CancelledError("the secret store was not changed")
    if result.outcome != "unchanged":
        raise DeploymentError("the secret store could not be written", details="\n".join(result.errors))
