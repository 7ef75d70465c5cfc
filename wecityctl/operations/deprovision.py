"""Locks accounts in capabilities whose use has ended, after the run that took it away.

What is to be locked is noted before that run (`engine.removal.leaving`), so the next one finishes what this one could
not. An account that a state has is in use, whatever is noted. With `--delete-data` its data goes too.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from wecityctl.engine.context import ending_accounts
from wecityctl.engine.context.ending_accounts import Account, Leaving
from wecityctl.engine.state.run_locks import part_of_city
from wecityctl.errors import ExitCode, WecityError, error_text
from wecityctl.model.events import Progress
from wecityctl.model.naming import label_value
from wecityctl.model.requirements import CAPABILITY
from wecityctl.model.stacknames import StackName
from wecityctl.model.words import counted
from wecityctl.operations.account_servers import ProvisionedAccounts, Server, provisioned_accounts

if TYPE_CHECKING:
    from wecityctl.engine.state.backend import Backend
    from wecityctl.inputs import Clusters
    from wecityctl.model.events import Emit, RunResult
    from wecityctl.session import Session


Noted = Mapping[str, Collection[Leaving]]


@dataclass(slots=True)
class _Ended:
    """What came of it: true for each account that is locked, false for one of which nothing has to be noted."""

    done: dict[Account, bool]
    notes: list[str]
    failed: bool = False

    def fail(self, why: str, which: str = "whose use has ended") -> None:
        """Note why accounts could not be locked."""
        self.notes.append(f"accounts {which} are not locked yet: {why}")
        self.failed = True


def end_access(
    session: Session, clusters: Clusters, backend: Backend, emit: Emit, result: RunResult, *, patience: float = 0.0
) -> RunResult:
    """The result of an `up` or `destroy` with what was locked after it, and why something could not be.

    What could not be locked stays noted for the next run. The exit code says so if this run noted it, or if the run was
    of the whole city; what other runs have noted is told alone. What is locked stays noted until its user is back, who
    gets other credentials (`Context.stale_secrets`). `patience` is how many seconds to wait for another run, for what
    this run has noted. Raises nothing that a back end or a cloud raises: the stacks have run.
    """
    begun, own, others = time.monotonic(), _Ended({}, []), _Ended({}, [])
    try:
        noted = ending_accounts.noted(backend)
        own.notes += ending_accounts.refused(backend)
        if not any(_is_open(item, result) for items in noted.values() for item in items):
            return replace(result, notes=(*result.notes, *own.notes))
        emit(Progress("accounts", "locking", "those that nothing uses any more"))
        try:
            mine = noted.keys() & _changed(result) if result.part else noted.keys()
            _end(session, clusters, backend, result, mine, patience, own)
            _end_others(session, clusters, backend, result, noted.keys() - mine, others)
        finally:
            emit(Progress("accounts", "locking", done=True, seconds=time.monotonic() - begun))
    except (WecityError, OSError) as error:
        own.fail(error_text(error))
    code = ExitCode.DEPLOYMENT if own.failed and not result.exit_code else result.exit_code
    return replace(result, notes=(*result.notes, *own.notes, *others.notes), exit_code=code)


def _changed(result: RunResult) -> set[str]:
    """The stacks whose notes are this run's: those that it was for, and what else of the city it has changed."""
    own_layers, idle = ("tenant", "crossing"), ("unchanged", "skipped", "blocked")
    return {
        item.stack
        for item in result.results
        if item.outcome not in idle or StackName.parse(item.stack).layer in own_layers
    }


def _end_others(
    session: Session, clusters: Clusters, backend: Backend, result: RunResult, stacks: Collection[str], ended: _Ended
) -> None:
    """Lock what other runs have noted, unless a run that goes on has it."""
    try:
        _end(session, clusters, backend, result, stacks, 0.0, ended)
    except (WecityError, OSError) as error:
        ended.fail(error_text(error), "that another run has noted")


def _end(
    session: Session,
    clusters: Clusters,
    backend: Backend,
    result: RunResult,
    stacks: Collection[str],
    patience: float,
    ended: _Ended,
) -> None:
    """Lock what is noted of `stacks`. Takes the locks of runs only if there is something to do."""

    def look() -> tuple[Noted, ProvisionedAccounts]:
        noted = ending_accounts.noted(backend)
        found = {stack: noted[stack] for stack in stacks if stack in noted}
        return found, provisioned_accounts(backend, session.catalogue)

    noted, now = look()
    gone = _takes_all(result, noted)
    if not any(_is_due(session, item, now, gone=gone) for items in noted.values() for item in items):
        return
    shared, alone = _stacks(backend, noted)
    with part_of_city(backend, shared, alone, patience):
        # What another run has settled meanwhile is not done again.
        noted, now = look()
        _lock(session, clusters, noted, now, ended, gone=_takes_all(result, noted))
        for stack in noted:
            ending_accounts.settle(backend, stack, ended.done)


def _is_due(session: Session, item: Leaving, now: ProvisionedAccounts, *, gone: bool) -> bool:
    """Whether the account is to be locked, or its note to be forgotten."""
    return item.account in now.accounts or (not item.done and (gone or not _may_return(session, item.account, now)))


def _may_return(session: Session, account: Account, now: ProvisionedAccounts) -> bool:
    """Whether the account's capability is not up but in the files: its volume may come back with the account in it."""
    place = (account.cloud, account.capability)
    planned = session.plan.whole.placement.capabilities
    return place not in now.servers and any((cloud, label_value(name)) == place for name, cloud in planned.items())


def _is_open(item: Leaving, result: RunResult) -> bool:
    """Whether something may have to be done about it. What is locked is in use again once a stack of its user's has
    run."""
    group = item.account.parts[0]
    ran = [StackName.parse(found.stack) for found in result.results if found.changes]
    return not item.done or any(
        name.subject == group or (name.layer, group) == ("platform", CAPABILITY) for name in ran
    )


def _lock(
    session: Session,
    clusters: Clusters,
    noted: Noted,
    now: ProvisionedAccounts,
    ended: _Ended,
    *,
    gone: bool,
) -> None:
    groups: dict[tuple[str, str], list[Leaving]] = {}
    for item in (item for items in noted.values() for item in items):
        if item.account in now.accounts:
            ended.done[item.account] = False
        elif not item.done:
            groups.setdefault((item.account.cloud, item.account.capability), []).append(item)
    for (cloud, capability), items in sorted(groups.items()):
        server, cluster = now.servers.get((cloud, capability)), clusters.found.get(cloud)
        accounts = [item.account for item in items]
        if server is None:
            if gone:
                ended.done |= dict.fromkeys(accounts, False)
            elif not _may_return(session, accounts[0], now):
                ended.done |= dict.fromkeys(accounts, False)
                ended.notes.append(
                    f"{capability} is no longer on {cloud}, nor are the accounts in it: {_named(accounts)}; their data "
                    "is in its volume if that was kept"
                )
        elif not server.can("deprovision"):
            ended.notes.append(f"{capability} cannot lock accounts: still open are {_named(accounts)}")
            ended.done |= dict.fromkeys(accounts, False)
        elif cluster is None:
            ended.notes.append(f"not locked yet, as cloud {cloud} does not answer: {_named(accounts)}")
            ended.failed = True
        else:
            _lock_in(session, server, clusters, items, ended)


def _lock_in(session: Session, server: Server, clusters: Clusters, items: Collection[Leaving], ended: _Ended) -> None:
    cluster, capability = clusters.found[server.cloud], server.endpoint.capability
    dropped = [item.account for item in items if item.delete and server.can("delete")]
    locked = [item.account for item in items if item.account not in dropped]
    try:
        if cluster.simulated:
            # The Jobs would succeed without doing anything.
            ended.done |= dict.fromkeys(locked, True) | dict.fromkeys(dropped, True)
            why = f"the nodes of cloud {server.cloud} are simulated and run no server"
            ended.notes.append(f"nothing to lock in {capability}, as {why}: {_named([*locked, *dropped])}")
            return
        if locked:
            server.run(session.city, cluster, "deprovision", server.pairs(locked))
            ended.done |= dict.fromkeys(locked, True)
            ended.notes.append(
                f"locked in {capability}: {_named(locked)}; its data stays: `wecityctl leftovers list` shows it"
            )
        if dropped:
            server.run(session.city, cluster, "delete", server.pairs(dropped))
            ended.done |= dict.fromkeys(dropped, True)
            ended.notes.append(f"deleted in {capability} with its data: {_named(dropped)}")
    except WecityError as error:
        waiting = [account for account in (*locked, *dropped) if account not in ended.done]
        why = ": ".join(filter(None, (error.message, error.details)))
        ended.notes.append(f"not locked yet in {capability}, the next run tries again: {_named(waiting)}: {why}")
        ended.failed = True


def _stacks(backend: Backend, noted: Noted) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the stacks that must not be changed meanwhile, shared and exclusive ones.

    Exclusive are the stacks that may have one of the accounts: those that it was noted of, and others of the same user.
    The platforms are shared: a server goes on while other runs build on it.
    """
    groups = {item.account.parts[0] for items in noted.values() for item in items}
    platforms, own = set[str](), set(noted)
    for stack in backend.list_stacks():
        name = StackName.parse(stack)
        if name.city != backend.city:
            continue
        if name.layer == "platform":
            (own if CAPABILITY in groups else platforms).add(stack)
        elif name.layer in ("tenant", "crossing") and name.subject in groups:
            own.add(stack)
    return tuple(sorted(platforms - own)), tuple(sorted(own))


def _takes_all(result: RunResult, noted: Noted) -> bool:
    """Whether the data of capabilities that are no longer there is gone as well."""
    return (
        result.operation == "destroy"
        and not result.part
        and all(item.delete for items in noted.values() for item in items)
    )


def _named(accounts: Collection[Account], most: int = 5) -> str:
    owners = [account.owner for account in sorted(accounts)]
    more = f" and {counted(len(owners) - most, 'other')}" if len(owners) > most else ""
    return ", ".join(owners[:most]) + more
