"""The options of each operation, as values created by the caller."""

from __future__ import annotations

from dataclasses import dataclass, field

from wecityctl.engine.context.options import DEFAULT_PROGRAM, Timeouts


@dataclass(frozen=True, slots=True, kw_only=True)
class StackOptions:
    """The options shared by all operations on stacks.

    `only` names stacks, or parts of their names, to work on; empty for all. `parallelism` is the number of stacks that
    run at the same time. `program` is `module:function`, for tests and other programs.
    """

    only: tuple[str, ...] = ()
    parallelism: int = 2
    timeouts: Timeouts = field(default_factory=Timeouts)
    program: str = DEFAULT_PROGRAM


@dataclass(frozen=True, slots=True, kw_only=True)
class PreviewOptions(StackOptions):
    """`new_clusters` are clouds whose cluster was replaced on purpose. With `take_over`, changes by others are shown as
    reverted. Without `check_policies`, no policy is evaluated.
    """

    new_clusters: frozenset[str] = frozenset()
    take_over: bool = False
    check_policies: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class UpOptions(StackOptions):
    """`confirmed` allows deletions and moves between clouds. Of the undeclared objects, only those in `removable` are
    then removed (UIDs; `None`: all that are found). `advice_shown`: a preview has already shown the advisory findings.
    Without `check_policies`, no policy can stop the run, for a run that only creates what enforces them. Without
    `skip`, every stack goes through the engine. The others are as in `PreviewOptions` and `RunOptions`.
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
    """With `delete_data`, volumes and secrets are deleted too. With `keep_going`, stacks that do not depend on a failed
    one continue.
    """

    keep_going: bool = False
    delete_data: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class RefreshOptions(StackOptions):
    """A refresh has no options of its own."""
