"""What a run is asked to do, as one frozen value."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from wecityctl.model.city import KubernetesProvider
from wecityctl.model.events import Operation

DEFAULT_PROGRAM = "stacks.program:run"
DAY = 24 * 3600.0


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Seconds. `run` bounds the whole run and `stack` one stack's (0: no bound); `idle` is how long an engine that has
    nothing under way may say nothing; `cancel` is how long an interrupted engine may go on before it is killed; `age`
    is how old a record may be that lets `up` leave a stack out; `lock` is how long to wait for another run to end.
    """

    run: float = 0.0
    stack: float = 0.0
    idle: float = 600.0
    cancel: float = 60.0
    age: float = DAY
    lock: float = 0.0


@dataclass(frozen=True, slots=True)
class RunOptions:
    """How to run a plan.

    `parallelism` is the number of stacks side by side, `resource_parallelism` that of resources within one.
    `confirmed` names what may be deleted: stacks that were removed from the configuration, and stacks in which
    protected things (namespaces, volumes, stateful workloads, apps, capabilities) may go. `expected` gives each
    stack's URNs where the caller knows them already; otherwise the run finds out for itself. `program` is
    `module:function`. `new_clusters` are clouds whose cluster is another one now by intent: what the old one holds is
    forgotten, not deleted. With `take_over` what others have changed is changed back and what they have added
    removed. Of what nobody declared, only what was `shown` is removed (uids; `None`: whatever is found). `files` is
    how the user names the city's files, for commands that are advised. `given` are stacks of the plan that are taken
    as their states have them, neither looked at nor changed, because this identity may not.
    """

    operation: Operation
    parallelism: int = 2
    resource_parallelism: int = 64
    keep_going: bool = False
    fail_fast: bool = False
    skip: bool = True
    refresh: bool = False
    expect_no_changes: bool = False
    targets: tuple[str, ...] = ()
    confirmed: frozenset[str] = frozenset()
    new_clusters: frozenset[str] = frozenset()
    confirm_all: bool = False
    delete_data: bool = False
    take_over: bool = False
    shown: frozenset[str] | None = None
    provider: KubernetesProvider = "auto"
    program: str = DEFAULT_PROGRAM
    expected: Mapping[str, frozenset[str]] | None = None
    files: str = "PATH"
    given: frozenset[str] = frozenset()
    timeouts: Timeouts = field(default_factory=Timeouts)

    def confirms(self, stack: str) -> bool:
        """Whether things of `stack` may be deleted."""
        return self.confirm_all or stack in self.confirmed
