"""The options of a run, as one frozen value."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from wecityctl.model.city import KubernetesProvider
from wecityctl.model.events import Operation
from wecityctl.model.parallelism import PARALLELISM

DEFAULT_PROGRAM = "stacks.program:run"
DAY = 24 * 3600.0


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Time limits in seconds.

    `run` limits the whole run and `stack` one stack (0: no limit). `idle` is how long an engine with no operation in
    progress may be silent. `cancel` is how long an interrupted engine may continue before it is killed. `age` is the
    maximum age of a record that lets `up` skip a stack. `lock` is how long to wait for another run to end.
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

    `parallelism` is the number of stacks that run at the same time, `resource_parallelism` that of resources in one
    stack. `confirmed` names the stacks in which deletions are allowed: stacks that were removed from the configuration,
    and stacks with protected resources (namespaces, volumes, stateful workloads, apps, capabilities). `expected` has
    each stack's URNs, if the caller knows them already; otherwise the run computes them. `program` is
    `module:function`. `new_clusters` are clouds whose cluster was replaced on purpose: the objects of the old one are
    dropped from the state, not deleted. With `take_over`, changes made by others are reverted and their additions
    removed. Of the undeclared objects only those in `shown` are removed (UIDs; `None`: all that are found). `files` is
    how the user names the city's files, for suggested commands. `given` are stacks whose state is used as it is: this
    identity may neither examine nor change them. `apart` are stacks that others of the run build on, and that it leaves
    as they are, whatever the files say of them.
    """

    operation: Operation
    parallelism: int = PARALLELISM
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
    apart: frozenset[str] = frozenset()
    timeouts: Timeouts = field(default_factory=Timeouts)

    def confirms(self, stack: str) -> bool:
        """Whether protected resources of `stack`, or the stack itself, may be deleted."""
        return self.confirm_all or stack in self.confirmed
