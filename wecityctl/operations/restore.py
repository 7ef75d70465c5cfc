"""`restore`: brings the data of a capability, a tenant or an app back from backups, into the same instance or another.

Each account is restored by a Job of its own beside the capability. What is restored is complete or nothing: what the
account had before stays until the whole backup was read and was genuine, as far as its capability can do that.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from wecityctl.engine.cluster.account_jobs import JobFailedError
from wecityctl.engine.context.ending_accounts import Account, planned_accounts
from wecityctl.engine.state.run_locks import part_of_city
from wecityctl.errors import ConfigurationError, DeploymentError, WecityError
from wecityctl.guesses import nearest
from wecityctl.model.backups import FORMAT, Snapshot, newest, repository, when
from wecityctl.model.events import Progress
from wecityctl.model.naming import account_name
from wecityctl.model.requirements import CAPABILITY
from wecityctl.operations.account_servers import Server
from wecityctl.operations.app_targets import unknown_name
from wecityctl.operations.backups import Opened, are_of, looking_for_backups, open_backups, snapshots_of
from wecityctl.operations.provisioning_again import provision_again

if TYPE_CHECKING:
    from wecityctl.model.catalogue import CapabilityType
    from wecityctl.model.events import Emit
    from wecityctl.session import Session

# What the restore's script says where that is so.
_UNCHANGED = "nothing was changed"


@dataclass(frozen=True, slots=True)
class Restore:
    """An account to restore from a snapshot into `capability` on `cloud`. `owner` is `<tenant>/<app>/<binding>`."""

    snapshot: Snapshot
    owner: str
    cloud: str
    capability: str


@dataclass(frozen=True, slots=True)
class Restored:
    """What came of a restore: `seconds` is how long it took, `error` why it failed and what was changed by then."""

    restore: Restore
    seconds: float
    error: WecityError | None = None


@dataclass(frozen=True, slots=True)
class RestorePlan:
    """What a restore is to do, and what to know of it."""

    opened: Opened
    items: tuple[Restore, ...]
    notes: tuple[str, ...]


def plan_restore(session: Session, name: str, emit: Emit, *, to: str = "", at: datetime | None = None) -> RestorePlan:
    """Find the snapshots from which to restore `name`: a capability, a tenant, or an app as TENANT/APP.

    The newest of each account, or with `at` the newest that is not younger. `to` is another instance of the same type,
    in which the accounts are to be; it may be in another namespace or on another cloud.

    Raises `ConfigurationError` for names of nothing and for backups that must not be restored: another city's, or a
    newer version's; and what keeps the target from being read.
    """
    opened = open_backups(session, emit)
    known = {item.endpoint.capability: item for item in opened.servers}
    city, notes = session.city, list[str]()
    sources, wanted = _sources(opened, name)
    target = _target(opened, to) if to else None
    now, items = datetime.now(UTC), list[Restore]()
    for capability in sources:
        reader = known.get(capability) or target
        if reader is None:
            raise ConfigurationError(
                f"{capability} is not up, so nothing can be restored into it",
                resolution="run `wecityctl up` first, or name another instance of its type with --to",
            )
        place = target or reader
        with looking_for_backups(capability, emit):
            found = snapshots_of(opened, reader, repository(city, capability))
        own = own_snapshots(found, city.name, capability, repository(city, capability))
        ahead = [item for item in own if item.is_ahead(now)]
        if ahead and at is None:
            notes.append(
                f"{capability}: passed over {len(ahead)} of a clock that is ahead, the last of {when(ahead[-1].at)}; "
                "--at takes them"
            )
        owners, accounts = _owners(opened, capability), newest(own, now, at)
        if reader.is_saved_whole and name != capability and any(wanted("", owner) for owner in owners.values()):
            notes.append(f"{capability}: its backups are of all of it, so {name} alone is not restored there")
        for item in accounts.values():
            owner = owners.get(item.account, item.owner)
            if wanted(item.account, owner):
                if reader.restores_accounts:
                    notes.append(
                        f"{capability}: apps' credentials in it are then those of {when(item.at)}, until the next "
                        "`wecityctl up` sets today's"
                    )
                check_version(item, place.type, place.endpoint.capability)
                items.append(Restore(item, owner, place.cloud, place.endpoint.capability))
    if not items:
        limit = f" of {when(at)} or before" if at is not None else ""
        raise ConfigurationError(
            f"there is no complete backup of {name}{limit}",
            resolution="look at what there is with `wecityctl backup list`",
        )
    return RestorePlan(
        opened, tuple(sorted(items, key=lambda item: (item.capability, item.snapshot.account))), tuple(notes)
    )


def carry_out(plan: RestorePlan, emit: Emit, *, replace: bool) -> Iterator[Restored]:
    """Restore one account after the other, and yield what came of each. One that fails stops none of the others.

    Without `replace`, accounts that have data are left alone. Nobody changes the platforms' stacks meanwhile. Raises
    `LockedError` while another run changes them, or another restore or backup is under way.
    """
    opened = plan.opened
    servers = {(item.cloud, item.endpoint.capability): item for item in opened.servers}
    stacks = sorted({servers[item.cloud, item.capability].stack for item in plan.items})
    with part_of_city(opened.backend, (), stacks):
        for item in plan.items:
            began, error = time.monotonic(), None
            subject = f"{item.capability}/{item.snapshot.account}"
            emit(Progress(subject, "restoring", f"of {when(item.snapshot.at)}"))
            try:
                _restore(opened, servers[item.cloud, item.capability], item, replace=replace)
            except WecityError as caught:
                error = caught
            seconds = time.monotonic() - began
            emit(Progress(subject, "restoring", done=True, seconds=seconds))
            yield Restored(item, seconds, error)


def is_unchanged_by_end(plan: RestorePlan, item: Restore) -> bool:
    """Whether the account of a restore has what it had when the restore is ended before it is done."""
    server = next(
        each for each in plan.opened.servers if (each.cloud, each.endpoint.capability) == (item.cloud, item.capability)
    )
    return server.restores_atomically


def _restore(opened: Opened, server: Server, item: Restore, *, replace: bool) -> None:
    values = {
        "RESTIC_REPOSITORY": repository(opened.session.city, item.snapshot.capability),
        "SNAPSHOT": item.snapshot.id,
        "SOURCE": item.snapshot.path,
        "ACCOUNT": item.snapshot.account,
        "OWNER": item.owner,
        "REPLACE": "yes" if replace else "no",
    }
    if server.restores_accounts and replace:
        _provision_again(opened, server)
    try:
        printed = opened.run(server, "restore", values)
    except WecityError as error:
        cause = error.__cause__
        if isinstance(cause, JobFailedError) and "wecity occupied" in cause.printed.splitlines():
            city, of = opened.session.city.name, when(item.snapshot.at)
            if server.restores_beside:
                raise ConfigurationError(
                    f"{item.capability} has data of the time of the backup",
                    details=f"its backup is of {of}: what is missing would be added, and nothing is removed or doubled",
                    resolution=f"add --confirm={city} to add it, or restore into another instance with --to",
                ) from error
            raise ConfigurationError(
                f"{item.snapshot.account} in {item.capability} has data, which a restore would replace",
                details=f"its backup is of {of}: what is younger would be lost",
                resolution=f"add --confirm={city} to replace it, or restore beside it with --to",
            ) from error
        if isinstance(cause, JobFailedError) and not server.restores_atomically and _UNCHANGED not in error.message:
            # Whoever runs it again without a time may get what this one has left.
            again = f"or, once another backup was taken, with --at {when(item.snapshot.at)}"
            error.resolution = f"{error.resolution or 'run it again'}, {again}"
        raise
    if f"wecity restored {item.snapshot.account}" not in printed.splitlines():
        raise DeploymentError(
            f"the restore of {item.snapshot.account} has not said that it is done", details=printed[-500:]
        )
    if server.restores_accounts and not replace:
        # Not before: where there is data, nothing was to be changed.
        _provision_again(opened, server)


def _provision_again(opened: Opened, server: Server) -> None:
    if server.cloud in opened.clusters.found:
        provision_again(opened.clusters.found[server.cloud], server.endpoint)


def _target(opened: Opened, to: str) -> Server:
    known = {item.endpoint.capability: item for item in opened.servers}
    if to not in known:
        near = nearest(to, known)
        raise ConfigurationError(
            f"--to={to} names no capability that is up and takes backups",
            details="there are: " + (", ".join(known) or "none"),
            resolution=f"did you mean {near!r}?"
            if near
            else "add an instance of the same type to the files, and `up` it",
        )
    return known[to]


def own_snapshots(found: Collection[Snapshot], city: str, capability: str, where: str) -> tuple[Snapshot, ...]:
    """Those of a city's capability. Raises `ConfigurationError` if what is there, at `where`, is all another's."""
    own = are_of(found, city, capability)
    if found and not own:
        others = ", ".join(sorted({f"{item.capability} of {item.city}" for item in found}))
        raise ConfigurationError(
            f"the backups in {where} are not of {capability} of {city}",
            details=f"they are of {others}",
            resolution="name the target that this city's backups are in; another city's are never restored",
        )
    return own


def check_version(item: Snapshot, kind: CapabilityType, into: str) -> None:
    """Raise `ConfigurationError` for a backup that this version, or the instance `into` of a type, cannot restore."""
    where = f"the backup of {item.account} of {when(item.at)}"
    if item.format > FORMAT:
        raise ConfigurationError(
            f"{where} was made by a newer wecityctl", resolution="restore it with that version, or a newer one"
        )
    if item.type != kind.name:
        raise ConfigurationError(
            f"{where} is of type {item.type}, and {into} of type {kind.name}",
            resolution=f"name an instance of type {item.type} with --to",
        )
    if _version(item.version) > _version(kind.versions[0]):
        raise ConfigurationError(
            f"{where} is of version {item.version}, and {into} of version {kind.versions[0]}",
            resolution="bring the capability to that version first: older servers do not read newer data",
        )


def _version(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(".") if part.isdecimal())


class _Wanted:
    """Which accounts a restore is for, by the beginning of their owners: all of them for an empty one."""

    def __init__(self, owner: str = "") -> None:
        self._owner = owner

    def __call__(self, account: str, owner: str) -> bool:
        return not self._owner or owner.startswith(f"{self._owner}/")


def _sources(opened: Opened, name: str) -> tuple[Collection[str], _Wanted]:
    """The capabilities whose repositories are to be read, and which accounts in them.

    A capability that keeps its data in others is restored there.
    """
    city = opened.session.city
    kinds = opened.session.catalogue
    saved = [item.name for item in city.capabilities if kinds[item.type].backup]
    up = {item.endpoint.capability for item in opened.servers}
    tenant, _, app = name.partition("/")
    if name in saved or name in up:
        return (name,), _Wanted()
    if any(item.name == name for item in city.capabilities):
        kept = sorted({item.capability for item in _accounts(opened) if item.owner.startswith(f"{CAPABILITY}/{name}/")})
        if not kept:
            raise ConfigurationError(
                f"{name} keeps no data of which backups are taken",
                details="backups are taken of: " + (", ".join(saved) or "nothing"),
            )
        return kept, _Wanted(f"{CAPABILITY}/{name}")
    tenants = {item.name for item in city.tenants}
    apps = {item.name for item in city.apps if item.tenant == tenant}
    if tenant in tenants and (not app or app in apps):
        return [item for item in saved if item in up] or saved, _Wanted(name)
    raise unknown_name(
        name,
        [f"{item.tenant}/{item.name}" for item in city.apps],
        {"tenant": sorted(tenants), "capability": [item.name for item in city.capabilities]},
    )


def _accounts(opened: Opened) -> frozenset[Account]:
    """The accounts that the files ask for, and those that are in use."""
    planned = planned_accounts(opened.session.plan.whole, opened.session.catalogue)
    return planned | opened.accounts.accounts


def _owners(opened: Opened, capability: str) -> dict[str, str]:
    """Whose accounts those in a capability are, by name: not every server records it."""
    city, kinds = opened.session.city, opened.session.catalogue
    binding = next((kinds[item.type].binding for item in city.capabilities if item.name == capability), None)
    if binding is None:
        return {}
    return {
        account_name(binding.separator, *item.parts): item.owner
        for item in _accounts(opened)
        if item.capability == capability
    }
