"""The evidence of backups: the newest complete snapshot of each account, as the target has it, and tested restores."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta

from wecityctl.errors import WecityError
from wecityctl.inputs import Clusters
from wecityctl.model.backups import Snapshot, newest, when
from wecityctl.model.words import counted
from wecityctl.operations.account_servers import Server, provisioned_accounts
from wecityctl.operations.backups import Opened, are_of, snapshots_of
from wecityctl.policy.evidence import CloudLook, Measure, Observation, State
from wecityctl.session import Session

CONTROL = "8.1.4.9"
# How old the newest snapshot may be: the longest time between two that the schedule makes, and some hours more.
GRACE = timedelta(hours=6)


def backup_measures(
    session: Session, clusters: Clusters, looks: Sequence[CloudLook], now: datetime
) -> Iterator[tuple[tuple[str, ...], Measure]]:
    """What is observed of backups on each cloud that has data; nothing for a city that takes none."""
    if not session.city.compliance.backup.is_taken:
        return
    title = "Complete backups at another place 异地备份"
    states = {item.cloud: item for item in looks}
    try:
        from wecityctl.engine.state.backend import open_backend

        backend = open_backend(session.city)
        accounts = provisioned_accounts(backend, session.catalogue)
    except WecityError as error:
        observed = [
            Observation(item.cloud, "not-looked-at", detail=f"the states cannot be read: {error.message}")
            for item in looks
        ]
        yield (CONTROL,), Measure("setting", "backups", title, observations=tuple(observed))
        return
    opened = Opened(session, backend, clusters, accounts)
    stores: dict[str, list[Server]] = {}
    for (cloud, _), server in sorted(accounts.servers.items()):
        if _keeps(session, server):
            stores.setdefault(cloud, []).append(server)
    seen = tuple(
        _observe(opened, servers, now) if cloud in clusters.found else _unseen(states[cloud], len(servers))
        for cloud, servers in stores.items()
    )
    if seen:
        yield (CONTROL,), Measure("setting", "backups", title, notes=tuple(_restores(stores)), observations=seen)


def _keeps(session: Session, server: Server) -> bool:
    """Whether a capability keeps data itself. One without scripts that uses one with them keeps it there."""
    kind = server.type
    is_elsewhere = not kind.backup and any(session.catalogue[use.type].backup for use in kind.uses)
    return kind.stores_data and not is_elsewhere


def _unseen(look: CloudLook, wanted: int) -> Observation:
    state: State = "unreachable" if look.state == "unreachable" else "not-looked-at"
    return Observation(look.cloud, state, 0, wanted, detail=look.reason)


def _restores(stores: dict[str, list[Server]]) -> Iterator[str]:
    """When restoring each type's data was last proved."""
    from stacks.platforms.restores import proof_of

    for name in sorted({server.type.name for servers in stores.values() for server in servers}):
        proof = proof_of(name)
        yield f"restoring {name}: {f'tested on {proof.date}, {proof.how}' if proof else 'not tested as it is now'}"


def _observe(opened: Opened, servers: Sequence[Server], now: datetime) -> Observation:
    """How many of a cloud's accounts have a complete snapshot that is not too old."""
    cloud, present, wanted, told, oldest = servers[0].cloud, 0, 0, list[str](), list[Snapshot]()
    limit = now - longest_gap(opened.session.city.compliance.backup.schedule) - GRACE
    for server in servers:
        name = server.endpoint.capability
        used = {
            server.name_of(item)
            for item in opened.accounts.accounts
            if (item.cloud, item.capability) == (server.cloud, name)
        }
        wanted += len(used)
        if not server.is_backed_up:
            if used:
                told.append(f"{name}: no backups are taken of it")
            continue
        try:
            found = newest(are_of(snapshots_of(opened, server), opened.session.city.name, name), now)
        except WecityError as error:
            told.append(f"{name}: {error.message}")
            continue
        if server.is_saved_whole and found:
            found = dict.fromkeys(used, max(found.values(), key=lambda item: item.at))
        recent = {account: found[account] for account in used & found.keys() if found[account].at >= limit}
        present += len(recent)
        oldest += recent.values()
        if recent:
            first = min(item.at for item in recent.values())
            told.append(f"{name}: newest complete {when(first)}, {counted(len(recent), 'account')}")
        if missing := sorted(used - recent.keys()):
            told.append(f"{name}: none that is recent of {', '.join(missing[:3])}{' and more' if missing[3:] else ''}")
    state: State = "observed" if present == wanted else "partial" if present else "missing"
    since = when(min(item.at for item in oldest)) if oldest else ""
    return Observation(cloud, state, present, wanted, since=since, detail="; ".join(told))


def longest_gap(schedule: str) -> timedelta:
    """The longest time between two runs of a cron expression, rounded up to a day, a week or a month."""
    words = {"@hourly": "0 * * * *", "@daily": "0 0 * * *", "@weekly": "0 0 * * 0", "@monthly": "0 0 1 * *"}
    fields = words.get(schedule, "0 0 1 1 *" if schedule == "@yearly" else schedule).split()
    if fields[3] != "*":
        return timedelta(days=366)
    if fields[2] != "*" and fields[4] == "*":
        return timedelta(days=31)
    return timedelta(days=7 if fields[4] != "*" else 1)
