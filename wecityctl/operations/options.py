"""How operations are to be carried out: one value for each, made by whoever calls it."""

from __future__ import annotations

from dataclasses import dataclass, field

from wecityctl.engine.run.options import DEFAULT_PROGRAM, Timeouts


@dataclass(frozen=True, slots=True, kw_only=True)
class StackOptions:
    """What every operation on stacks takes.

    `only` names stacks, or parts of their names, that the operation is for; without any it is for all of them.
    `parallelism` is the number of stacks side by side. `program` is `module:function`, for tests and other programs.
    """

    only: tuple[str, ...] = ()
    parallelism: int = 2
    timeouts: Timeouts = field(default_factory=Timeouts)
    program: str = DEFAULT_PROGRAM


@dataclass(frozen=True, slots=True, kw_only=True)
class PreviewOptions(StackOptions):
    """`new_clusters` are clouds whose cluster is another one now by intent. With `take_over` what others have changed
    is shown as changed back. Without `check_policies` no policy is evaluated."""

    new_clusters: frozenset[str] = frozenset()
    take_over: bool = False
    check_policies: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class UpOptions(StackOptions):
    """`confirmed` says yes to removals and to moves between clouds; of what nobody declared, only what is in
    `removable` is then removed (uids; `None`: whatever is found). `advice_shown`: a preview has told the policies'
    advice already. Without `check_policies` no policy may stop the run: for one that only makes what holds them.
    Without `skip` every stack goes through the engine. The others are as in `PreviewOptions` and `RunOptions`.
    """

    new_clusters: frozenset[str] = frozenset()
    take_over: bool = False
    check_policies: bool = True
    advice_shown: bool = False
    keep_going: bool = False
    fail_fast: bool = False
    skip: bool = True
    confirmed: bool = False
    removable: frozenset[str] | None = None
    delete_data: bool = False
    start_clouds: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class DestroyOptions(StackOptions):
    """With `delete_data` volumes and secrets go too. With `keep_going` what does not need a failed stack goes on."""

    keep_going: bool = False
    delete_data: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class RefreshOptions(StackOptions):
    """A refresh has no options of its own."""
