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
from wecityctl.errors import ExitCode, WecityError
from wecityctl.model.events import Progress
from wecityctl.model.requirements import CAPABILITY
from wecityctl.model.stacknames import StackName
from wecityctl.model.words import counted
from wecityctl.operations.account_servers import ProvisionedAccounts, Server, provisioned_accounts

if TYPE_CHECKING:
    from wecityctl.engine.state.backend import Backend
    from wecityctl.inputs import Clusters
    from wecityctl.model.events import Emit, RunResult
    from wecityctl.session import Session

Groups = Mapping[tuple[str, str], Collection[Leaving]]


@dataclass(slots=True)
class _Ended:
    """What came of it: true for each account that is locked, false for one of which nothing has to be noted."""

    done: dict[Account, bool]
    notes: list[str]
    failed: bool = False


def end_access(
    session: Session, clusters: Clusters, backend: Backend, emit: Emit, result: RunResult, *, patience: float = 0.0
) -> RunResult:
    """The result of an `up` or `destroy` with what was locked after it, and why something could not be.

    What could not be locked stays noted for the next run, and the exit code says so. What is locked stays noted until
    its user is back, who gets other credentials (`Context.stale_secrets`). `patience` is how many seconds to
    wait for another run.
    """
    noted = ending_accounts.noted(backend)
    if not any(_is_open(item, result) for items in noted.values() for item in items):
        return result
    begun = time.monotonic()
    emit(Progress("accounts", "lock", "whose use has ended"))
    try:
        with part_of_city(backend, (), _stacks(backend, noted), patience):
            # What another run has settled meanwhile is not done again.
            noted, now = ending_accounts.noted(backend), provisioned_accounts(backend, session.catalogue)
            ended = _lock(session, clusters, noted, now, gone=_takes_all(result, noted))
            for stack in noted:
                ending_accounts.settle(backend, stack, ended.done)
    except WecityError as error:
        ended = _Ended({}, [f"accounts whose use has ended are not locked yet: {error.message}"], failed=True)
    emit(Progress("accounts", "lock", done=True, seconds=time.monotonic() - begun))
    code = ExitCode.DEPLOYMENT if ended.failed and not result.exit_code else result.exit_code
    return replace(result, notes=(*result.notes, *ended.notes), exit_code=code)


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
    noted: Mapping[str, Collection[Leaving]],
    now: ProvisionedAccounts,
    *,
    gone: bool,
) -> _Ended:
    ended = _Ended({}, [])
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
            # Its volume may come back, with these accounts in it, unless all of it went.
            ended.done |= dict.fromkeys(accounts, False) if gone else {}
        elif not server.can("deprovision"):
            ended.notes.append(f"{capability} cannot lock accounts: still open are {_named(accounts)}")
            ended.done |= dict.fromkeys(accounts, False)
        elif cluster is None:
            ended.notes.append(f"not locked yet, as cloud {cloud} does not answer: {_named(accounts)}")
            ended.failed = True
        else:
            _lock_in(session, server, clusters, items, ended)
    return ended


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


def _stacks(backend: Backend, noted: Mapping[str, Collection[Leaving]]) -> tuple[str, ...]:
    """The stacks that may have one of the accounts: those that it was noted of, and others of the same user."""
    groups = {item.account.parts[0] for items in noted.values() for item in items}
    own = {
        stack
        for stack in backend.list_stacks()
        if (name := StackName.parse(stack)).city == backend.city
        and (name.subject in groups if name.layer in ("tenant", "crossing") else name.layer == "platform")
    }
    return tuple(sorted(own | set(noted)))


def _takes_all(result: RunResult, noted: Mapping[str, Collection[Leaving]]) -> bool:
    """Whether the data of capabilities that are no longer there is gone as well."""
    return result.operation == "destroy" and all(item.delete for items in noted.values() for item in items)


def _named(accounts: Collection[Account], most: int = 5) -> str:
    owners = [account.owner for account in sorted(accounts)]
    more = f" and {counted(len(owners) - most, 'other')}" if len(owners) > most else ""
    return ", ".join(owners[:most]) + more
