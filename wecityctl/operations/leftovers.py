"""`leftovers`: what users that are gone have left in the city's capabilities and in volumes, and its removal.

The servers themselves are asked, by a Job beside each: they know accounts that no state has any more. Volumes are
those of capabilities and apps that are gone (`left_volumes`).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING

from wecityctl.engine.context import ending_accounts
from wecityctl.engine.context.ending_accounts import Account, planned_accounts
from wecityctl.engine.state.run_locks import part_of_city
from wecityctl.errors import ConfigurationError, DeploymentError, WecityError
from wecityctl.operations.account_servers import ProvisionedAccounts, Server, provisioned_accounts
from wecityctl.operations.app_targets import not_asked
from wecityctl.operations.left_volumes import PREFIX, LeftVolume, choose_volumes, delete_volumes, find_volumes

if TYPE_CHECKING:
    from wecityctl.engine.state.backend import Backend
    from wecityctl.inputs import Clusters
    from wecityctl.model.events import Emit
    from wecityctl.session import Session


@dataclass(frozen=True, slots=True)
class Leftover:
    """An account in a capability that nothing of the city uses. `name` is `<capability>/<account>`; `owner` is
    `<tenant>/<app>/<binding>`, empty where the server does not know. `since` is when it was locked, in RFC 3339, empty
    for an account that is open or whose time is not known. `planned`: the files have its user, who is not up.
    `kept_until` is the last day (ISO date) for which the records of a retired app keep its data, or empty."""

    name: str
    cloud: str
    capability: str
    account: str
    owner: str
    bytes: int
    locked: bool
    since: str = ""
    planned: bool = False
    kept_until: str = ""


@dataclass(frozen=True, slots=True)
class Leftovers:
    """What was found; for each capability or `cloud <name>` that could not be asked why; those without a server, with
    the reason; and a sentence for each mark of a volume that is not trusted."""

    items: tuple[Leftover, ...]
    failed: Mapping[str, WecityError]
    serverless: Mapping[str, str] = field(default_factory=dict)
    volumes: tuple[LeftVolume, ...] = ()
    doubts: tuple[str, ...] = ()


def list_leftovers(session: Session, emit: Emit) -> Leftovers:
    """Ask the capabilities that are up for accounts that no state has, and the clusters for volumes. Changes nothing.

    One that cannot be asked is in `failed`, with the error.
    """
    backend, clusters = _open(session, emit)
    found = _look(session, clusters, backend, provisioned_accounts(backend, session.catalogue))
    volumes = find_volumes(session, clusters, backend, _kept_until(session))
    failed = {**found.failed, **{f"cloud {cloud}": error for cloud, error in volumes.failed.items()}}
    return replace(found, failed=failed, volumes=volumes.items, doubts=volumes.doubts)


def delete_leftovers(
    session: Session, names: Collection[str], emit: Emit, *, preview: bool = False
) -> tuple[tuple[Leftover, ...], tuple[LeftVolume, ...]]:
    """Delete accounts with their data and volumes, or with `preview` only say which. `names` are those of
    `list_leftovers`.

    Raises `ConfigurationError` for a name of nothing that is left, and for what the files still have; `LockedError`
    while a run changes the city; and whatever keeps a capability from deleting: what others have deleted stays so.
    """
    from wecityctl.engine.state.backend import open_backend

    # The states are asked before the servers, which takes long.
    of_volumes = [name for name in names if name.startswith(PREFIX)]
    of_accounts = [name for name in names if name not in of_volumes]
    now = _named(provisioned_accounts(open_backend(session.city), session.catalogue), of_accounts)
    backend, clusters = _open(session, emit)
    chosen = _choose(_look(session, clusters, backend, now), of_accounts)
    volumes = _choose_volumes(session, clusters, backend, of_volumes)
    if preview:
        return chosen, volumes
    with part_of_city(backend, (), {*_stacks(backend, chosen), *(item.stack for item in volumes)}):
        # A run that has ended meanwhile may have given an account back to its owner.
        now = provisioned_accounts(backend, session.catalogue)
        used = set(_used(now))
        if taken := sorted(item.name for item in chosen if _is_used(item, used)):
            raise ConfigurationError(
                f"in use again: {', '.join(taken)}", resolution="leave it, or remove its user first"
            )
        for (cloud, capability), items in _grouped(chosen).items():
            server = now.servers.get((cloud, capability))
            if server is None:
                raise DeploymentError(f"{capability} has been taken down meanwhile")
            pairs = [(item.account, item.owner or "-") for item in items]
            server.run(session.city, clusters.found[cloud], "delete", pairs)
            _forget_notes(backend, server, items)
        # Whoever had them may have come back as well.
        volumes = _choose_volumes(session, clusters, backend, of_volumes)
        delete_volumes(clusters, volumes)
    return chosen, volumes


def _open(session: Session, emit: Emit) -> tuple[Backend, Clusters]:
    from wecityctl.clusters import open_clusters
    from wecityctl.engine.state.backend import open_backend

    backend = open_backend(session.city)
    return backend, open_clusters(session.city, session.catalogue, emit, start=False, backend=backend)


def _named(now: ProvisionedAccounts, names: Collection[str]) -> ProvisionedAccounts:
    """The capabilities that `names` are of. Raises `ConfigurationError` for a name of none."""
    known = {capability for _, capability in now.servers}
    wanted = {name: name.partition("/") for name in names}
    for name, (capability, _, account) in wanted.items():
        if capability not in known or not account:
            raise ConfigurationError(
                f"nothing that is left over has the name {name!r}",
                details="capabilities that are up and have accounts: " + (", ".join(sorted(known)) or "none"),
                resolution="write it as `wecityctl leftovers list` shows it",
            )
    named = {capability for capability, _, _ in wanted.values()}
    servers = {place: server for place, server in now.servers.items() if place[1] in named}
    return replace(now, servers=servers)


def _look(session: Session, clusters: Clusters, backend: Backend, now: ProvisionedAccounts) -> Leftovers:
    used, failed, items = set(_used(now)), dict[str, WecityError](), list[Leftover]()
    serverless: dict[str, str] = {}
    kept = _kept_until(session)
    known = {item.account for items in ending_accounts.noted(backend).values() for item in items}
    planned = planned_accounts(session.plan.whole, session.catalogue)
    for (cloud, capability), server in sorted(now.servers.items()):
        cluster = clusters.found.get(cloud)
        if not server.can("inventory"):
            failed[capability] = DeploymentError(f"{capability} does not list its accounts")
        elif cluster is None:
            failed[capability] = clusters.failed.get(cloud) or not_asked(session, cloud)
        elif cluster.simulated:
            serverless[capability] = f"the nodes of cloud {cloud} are simulated and run no server"
        else:
            try:
                printed = server.run(session.city, cluster, "inventory")
            except WecityError as error:
                failed[capability] = error
                continue
            owners: dict[str, str] = {}
            # Where several owners come to one name, it is taken for that of who uses it.
            for accounts in (known, planned, now.accounts):
                owners |= {server.name_of(item): item.owner for item in accounts if item.capability == capability}
            expected = {(server.name_of(item), item.owner) for item in planned if item.capability == capability}
            for item in parse_inventory(printed, server, owners, expected):
                if not _is_used(item, used):
                    items.append(replace(item, kept_until=kept.get(item.owner.rpartition("/")[0], "")))
    return Leftovers(tuple(items), failed, serverless)


def _kept_until(session: Session) -> dict[str, str]:
    """Until which day the data of apps is kept, by `<tenant>/<app>`."""
    return {
        f"{item.tenant}/{item.name}": item.records[-1].keep_until for item in session.city.lifecycles if item.records
    }


def parse_inventory(
    text: str, server: Server, owners: Mapping[str, str], planned: Collection[tuple[str, str]] = ()
) -> Iterator[Leftover]:
    """The accounts in what a capability's `inventory` prints. `owners` helps where the server records none. `planned`
    has name and owner of each account that the files ask for."""
    capability, separator = server.endpoint.capability, server.binding.separator
    for line in text.splitlines():
        match line.split():
            case ["account", name, owner, size, "open" | "locked" as state, since] if size.isdecimal():
                if owner == "-":
                    parts = name.split(separator)
                    owner = owners.get(name) or ("/".join(parts) if separator == "." and len(parts) == 3 else "")
                time = datetime.fromtimestamp(int(since), UTC).isoformat() if since.isdecimal() else ""
                yield Leftover(
                    f"{capability}/{name}",
                    server.cloud,
                    capability,
                    name,
                    owner,
                    int(size),
                    state == "locked",
                    time,
                    (name, owner) in planned,
                )


def _used(now: ProvisionedAccounts) -> Iterator[tuple[str, str, str, str]]:
    """Cloud, capability, name and owner of each account that a state has."""
    for item in now.accounts:
        server = now.servers.get((item.cloud, item.capability))
        if server is not None:
            yield item.cloud, item.capability, server.name_of(item), item.owner


def _is_used(item: Leftover, used: Collection[tuple[str, str, str, str]]) -> bool:
    """Whether a state has the account. Two owners may come to one name: what the one has left is not the other's."""
    names = {owner for *place, owner in used if place == [item.cloud, item.capability, item.account]}
    return item.owner in names if item.owner else bool(names)


def _choose(found: Leftovers, names: Collection[str]) -> tuple[Leftover, ...]:
    by_name = {item.name: item for item in found.items}
    unknown = [name for name in names if name not in by_name]
    if unknown:
        details = "left over: " + (", ".join(by_name) or "nothing")
        details += "".join(f"\nnot asked: {name}: {error.message}" for name, error in found.failed.items())
        raise ConfigurationError(
            f"nothing that is left over has the name {unknown[0]!r}",
            details=details,
            resolution="write it as `wecityctl leftovers list` shows it",
        )
    chosen = tuple(by_name[name] for name in dict.fromkeys(names))
    if kept := [item for item in chosen if item.planned]:
        raise ConfigurationError(
            f"the files still have {kept[0].owner}, to which {kept[0].name} belongs",
            resolution="remove it from the files first, or take its tenant down with `destroy --only TENANT "
            "--delete-data`",
        )
    _require_free(chosen)
    return chosen


def _choose_volumes(
    session: Session, clusters: Clusters, backend: Backend, names: Collection[str]
) -> tuple[LeftVolume, ...]:
    if not names:
        return ()
    chosen = choose_volumes(find_volumes(session, clusters, backend, _kept_until(session)), names)
    _require_free(chosen)
    return chosen


def _require_free(chosen: Collection[Leftover | LeftVolume]) -> None:
    """Raise `ConfigurationError` for data that the records of a retired app still keep."""
    today = str(date.today())
    if early := [item for item in chosen if item.kept_until >= today]:
        raise ConfigurationError(
            f"the data in {early[0].name} is kept until {early[0].kept_until}: its app was retired with that promise",
            resolution="delete it after that day, or shorten `keepUntil` in the app's Lifecycle first",
        )


def _grouped(items: Iterable[Leftover]) -> dict[tuple[str, str], list[Leftover]]:
    found: dict[tuple[str, str], list[Leftover]] = {}
    for item in items:
        found.setdefault((item.cloud, item.capability), []).append(item)
    return found


def _stacks(backend: Backend, chosen: Collection[Leftover]) -> tuple[str, ...]:
    """What nobody may change meanwhile: the platforms' stacks, and those of the owners."""
    from wecityctl.model.stacknames import StackName

    groups = {item.owner.partition("/")[0] for item in chosen}
    names = [(stack, StackName.parse(stack)) for stack in backend.list_stacks()]
    own = {
        stack
        for stack, name in names
        if name.city == backend.city and (name.layer == "platform" or name.subject in groups)
    }
    return tuple(sorted(own | set(ending_accounts.noted(backend))))


def _forget_notes(backend: Backend, server: Server, items: Collection[Leftover]) -> None:
    """What was deleted has not to be locked any more; its credentials are still to be forgotten."""
    for stack, noted in ending_accounts.noted(backend).items():
        done: dict[Account, bool] = {
            entry.account: True
            for entry in noted
            if (entry.account.cloud, entry.account.capability) == (server.cloud, server.endpoint.capability)
            and any(_is_of(server, entry.account, item) for item in items)
        }
        ending_accounts.settle(backend, stack, done)


def _is_of(server: Server, account: Account, item: Leftover) -> bool:
    return server.name_of(account) == item.account and item.owner in ("", account.owner)
