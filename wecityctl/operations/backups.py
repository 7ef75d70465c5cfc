"""`backup run`, `list` and `verify`: backups of the capabilities that are up, taken, listed and read back.

Jobs beside the capabilities do it, since they alone may reach the target; nothing of a backup passes through here.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from wecityctl.engine.cluster.account_jobs import JobFailedError
from wecityctl.errors import ConfigurationError, DeploymentError, WecityError
from wecityctl.guesses import nearest
from wecityctl.model.backups import BACKUP_IMAGE, Snapshot, parse_snapshots, repository
from wecityctl.model.events import Progress
from wecityctl.model.words import counted
from wecityctl.operations.account_servers import ProvisionedAccounts, Server, provisioned_accounts
from wecityctl.operations.app_targets import not_asked
from wecityctl.operations.backup_jobs import failure, own_lines, read_list

if TYPE_CHECKING:
    from stacks.platforms.backups import Task
    from wecityctl.engine.state.backend import Backend
    from wecityctl.inputs import Clusters
    from wecityctl.model.events import Emit
    from wecityctl.session import Session

# Seconds for what only looks, and for what reads or writes all data.
LOOKING, WORKING = 600.0, 6 * 3600.0


@dataclass(frozen=True, slots=True)
class Saved:
    """What came of the backup of one account: the snapshot's id, empty if there is none, and the bytes read."""

    cloud: str
    capability: str
    account: str
    owner: str
    snapshot: str = ""
    bytes: int = 0


@dataclass(frozen=True, slots=True)
class BackupRun:
    """The accounts that were backed up, those that were not among them, and why capabilities failed, by name."""

    saved: tuple[Saved, ...]
    failed: Mapping[str, WecityError]
    seconds: float


@dataclass(frozen=True, slots=True)
class Opened:
    """A city whose backups are worked on: its capabilities that are up and backed up, and the clusters that answer."""

    session: Session
    backend: Backend
    clusters: Clusters
    accounts: ProvisionedAccounts

    @property
    def servers(self) -> tuple[Server, ...]:
        """The capabilities that backups are taken of."""
        return tuple(item for _, item in sorted(self.accounts.servers.items()) if item.is_backed_up)

    def chosen(self, names: Collection[str]) -> tuple[Server, ...]:
        """Those of these names, or all. Raises `ConfigurationError` for a name of none, and if there are none."""
        known = {item.endpoint.capability: item for item in self.servers}
        for name in names:
            if name not in known:
                near = nearest(name, known)
                raise ConfigurationError(
                    f"no backups are taken of {name!r}",
                    details="they are taken of: " + (", ".join(known) or "nothing that is up"),
                    resolution=f"did you mean {near!r}?" if near else "name one of these",
                )
        found = tuple(item for item in self.servers if not names or item.endpoint.capability in names)
        if not found:
            raise ConfigurationError(
                "nothing is up of which backups are taken",
                resolution="run `wecityctl up` first; a capability that keeps data is then backed up by schedule",
            )
        return found

    def run(
        self,
        server: Server,
        task: Task,
        values: Mapping[str, str] = {},
        told: Callable[[str], None] | None = None,
    ) -> str:
        """Run a task's Job beside a capability and return what it prints, as `own_lines` has it.

        Raises what `run_job` does.
        """
        from stacks.platforms.backups import job, notice, writers
        from wecityctl.engine.cluster.account_jobs import run_job

        cluster = self.clusters.found.get(server.cloud)
        if cluster is None:
            raise self.clusters.failed.get(server.cloud) or not_asked(self.session, server.cloud)
        if cluster.simulated:
            raise DeploymentError(
                f"the nodes of cloud {server.cloud} are simulated: nothing runs there that could be backed up",
                resolution="backups need real nodes: spec.local.nodes: real in its Cloud",
            )
        image = self.session.images[BACKUP_IMAGE]
        endpoint, city = server.endpoint, self.session.city
        mark = secrets.token_hex(8)
        values = {**values, "MARK": mark}
        made = job(city, server.type, cluster, endpoint, image, task, values, is_tls=server.is_tls)
        looks = task in ("list", "verify")
        alone = "" if looks else writers(endpoint.capability)
        shown = None if told is None else lambda text: told(own_lines(text, mark))
        restoring = notice(city, endpoint) if task == "restore" else None
        seconds = LOOKING if task == "list" else WORKING
        try:
            printed = run_job(cluster, made, seconds, alone=alone, notice=restoring, told=shown)
        except JobFailedError as error:
            said = JobFailedError(error.message, own_lines(error.printed, mark))
            where = values.get("RESTIC_REPOSITORY") or repository(city, endpoint.capability)
            raise failure(endpoint.capability, said, where, restoring=task == "restore") from said
        return own_lines(printed, mark)


def open_backups(session: Session, emit: Emit) -> Opened:
    """Open the state and the clouds of a city that takes backups. Raises `ConfigurationError` if it takes none."""
    from wecityctl.clusters import open_clusters
    from wecityctl.engine.state.backend import open_backend

    backup = session.city.compliance.backup
    if not backup.is_taken:
        raise ConfigurationError(
            f"{session.city.name} takes no backups",
            details=f"compliance.backup names the target {backup.target}, and no server" if backup.target else "",
            resolution="name the target's server, its addresses and the secrets under compliance.backup of the City",
        )
    backend = open_backend(session.city)
    clusters = open_clusters(session.city, session.catalogue, emit, start=False, backend=backend)
    return Opened(session, backend, clusters, provisioned_accounts(backend, session.catalogue))


def run_backups(session: Session, names: Collection[str], emit: Emit) -> BackupRun:
    """Back up these capabilities now, or all that backups are taken of.

    One that fails keeps no other from its backup. Raises `ConfigurationError` for a name of none.
    """
    opened = open_backups(session, emit)
    began, saved, failed = time.monotonic(), list[Saved](), dict[str, WecityError]()
    for server in opened.chosen(names):
        name = server.endpoint.capability
        started = time.monotonic()

        told_of = {0}

        def told(text: str, name: str = name, told_of: set[int] = told_of) -> None:
            done = sum(line.startswith("wecity saved ") for line in text.splitlines())
            if done not in told_of:
                told_of.add(done)
                emit(Progress(name, "backing up", f"{counted(done, 'account')} done"))

        emit(Progress(name, "backing up"))
        try:
            saved += parse_saved(opened.run(server, "backup", told=told), server)
        except WecityError as error:
            cause = error.__cause__
            if isinstance(cause, JobFailedError):
                saved += parse_saved(cause.printed, server)
            failed[name] = error
        emit(Progress(name, "backing up", done=True, seconds=time.monotonic() - started))
    return BackupRun(tuple(saved), failed, time.monotonic() - began)


def parse_saved(text: str, server: Server) -> Iterator[Saved]:
    """What a backup's Job says of each account."""
    cloud, capability = server.cloud, server.endpoint.capability
    for line in text.splitlines():
        match line.split():
            case ["wecity", "saved", account, owner, snapshot, size] if size.isdecimal():
                yield Saved(cloud, capability, account, owner, snapshot, int(size))
            case ["wecity", "failed", account, owner]:
                yield Saved(cloud, capability, account, owner)


@dataclass(frozen=True, slots=True)
class Listed:
    """The snapshots of a city, oldest first, those that are not its own, and why capabilities could not be asked."""

    snapshots: tuple[Snapshot, ...]
    foreign: tuple[Snapshot, ...]
    failed: Mapping[str, WecityError]
    at: datetime


def list_backups(session: Session, names: Collection[str], emit: Emit) -> Listed:
    """The snapshots in the target, as the capabilities' own repositories have them."""
    opened = open_backups(session, emit)
    return listed(opened, opened.chosen(names), emit)


def listed(opened: Opened, servers: Collection[Server], emit: Emit = lambda event: None) -> Listed:
    """The snapshots of these capabilities. What is not of the capability whose repository it is in is foreign."""
    own, foreign, failed = list[Snapshot](), list[Snapshot](), dict[str, WecityError]()
    for server in servers:
        try:
            with looking_for_backups(server.endpoint.capability, emit):
                found = snapshots_of(opened, server)
        except WecityError as error:
            failed[server.endpoint.capability] = error
            continue
        mine = are_of(found, opened.session.city.name, server.endpoint.capability)
        own += mine
        foreign += (item for item in found if item not in mine)

    def at(item: Snapshot) -> datetime:
        return item.at

    return Listed(tuple(sorted(own, key=at)), tuple(sorted(foreign, key=at)), failed, datetime.now(UTC))


@contextmanager
def looking_for_backups(capability: str, emit: Emit) -> Iterator[None]:
    """Say that backups are looked for: a Job beside the capability does it, and waits for a target that is away."""
    began = time.monotonic()
    emit(Progress(capability, "looking for backups"))
    try:
        yield
    finally:
        emit(Progress(capability, "looking for backups", done=True, seconds=time.monotonic() - began))


def are_of(found: Iterable[Snapshot], city: str, capability: str) -> tuple[Snapshot, ...]:
    """Those of a city's capability. All of a city's repositories have one password: a target may give another's."""
    return tuple(item for item in found if (item.city, item.capability) == (city, capability))


def snapshots_of(opened: Opened, server: Server, other: str = "") -> tuple[Snapshot, ...]:
    """The snapshots in a capability's repository, or in that at the address `other`, which its Job is to read."""
    where = {"RESTIC_REPOSITORY": other} if other else {}
    text = read_list(lambda start: opened.run(server, "list", {**where, "FROM": str(start)}))
    try:
        return parse_snapshots(text)
    except ValueError as error:
        raise DeploymentError(
            f"the list of {server.endpoint.capability}'s backups cannot be read", details=f"{text[-300:]}\n{error}"
        ) from error


def verify_backups(
    session: Session, names: Collection[str], share: str, emit: Emit
) -> Mapping[str, WecityError | None]:
    """Check the repositories of these capabilities, or of all, and read a `share` of their data back, such as `10%`.

    Returns what is wrong, by capability; `None` for one that is sound.
    """
    opened = open_backups(session, emit)
    found: dict[str, WecityError | None] = {}
    for server in opened.chosen(names):
        name, started = server.endpoint.capability, time.monotonic()
        emit(Progress(name, "reading back"))
        try:
            opened.run(server, "verify", {"SUBSET": share})
            found[name] = None
        except WecityError as error:
            found[name] = error
        emit(Progress(name, "reading back", done=True, seconds=time.monotonic() - started))
    return found
