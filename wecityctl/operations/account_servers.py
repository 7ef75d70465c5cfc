"""The capabilities of a city that are up and have accounts, and what can be done with these.

Everything is taken from the states: what the files say may not be up yet, or not any more.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from wecityctl.engine.context.ending_accounts import Account, accounts_in
from wecityctl.model.backups import cron_job_name
from wecityctl.model.catalogue import Binding, CapabilityType, Catalogue
from wecityctl.model.naming import account_name
from wecityctl.model.outputs import Endpoint
from wecityctl.model.stacknames import StackName
from wecityctl.operations.platform_endpoints import endpoints_in

if TYPE_CHECKING:
    from stacks.platforms.account_jobs import Task
    from stacks.platforms.backups import BackupScripts
    from wecityctl.engine.state.backend import Backend
    from wecityctl.engine.state.checkpoint import StackState
    from wecityctl.inputs import Cluster
    from wecityctl.model.city import City

# Seconds for one Job, with its image already on the node; and accounts for one, as the list is one variable.
_SECONDS, _MOST = 180.0, 250


@dataclass(frozen=True, slots=True)
class Server:
    """A capability that is up, on a cloud: its type, whether it speaks TLS, and whether backups are taken of it.
    `stack` is its platform's."""

    cloud: str
    stack: str
    endpoint: Endpoint
    type: CapabilityType
    is_tls: bool
    is_backed_up: bool = False

    @property
    def binding(self) -> Binding:
        assert self.type.binding is not None
        return self.type.binding

    @property
    def is_saved_whole(self) -> bool:
        """Whether a backup of it is of all its accounts together."""
        return self._scripts is not None and bool(self._scripts.inventory)

    @property
    def restores_accounts(self) -> bool:
        """Whether a restore brings back accounts with the credentials of the backup's time."""
        return self._scripts is not None and self._scripts.with_accounts

    @property
    def restores_atomically(self) -> bool:
        """Whether a restore into it that fails changes nothing."""
        return self._scripts is not None and self._scripts.atomic

    @property
    def restores_beside(self) -> bool:
        """Whether a restore keeps what there is and adds what is missing."""
        return self._scripts is not None and self._scripts.adds

    @property
    def _scripts(self) -> BackupScripts | None:
        from stacks.platforms.backups import scripts_of

        return scripts_of(self.type)

    def name_of(self, account: Account) -> str:
        """The account's name in the server."""
        return account_name(self.binding.separator, *account.parts)

    def can(self, task: Task) -> bool:
        """Whether the capability has a script for the task."""
        from stacks.platforms.account_jobs import script_of

        return bool(script_of(self.type, task))

    def pairs(self, accounts: Collection[Account]) -> list[tuple[str, str]]:
        """Name and owner of each account, as `run` takes them."""
        return [(self.name_of(item), item.owner) for item in sorted(accounts)]

    def run(self, city: City, cluster: Cluster, task: Task, accounts: Sequence[tuple[str, str]] = ()) -> str:
        """Run a task's Job to its end and return what it prints. Raises what `run_job` does."""
        from stacks.platforms.account_jobs import account_job
        from wecityctl.engine.cluster.account_jobs import run_job

        text = ""
        for start in range(0, max(len(accounts), 1), _MOST):
            part = accounts[start : start + _MOST]
            job = account_job(city, self.type, cluster, self.endpoint, task, part, is_tls=self.is_tls)
            text += run_job(cluster, job, _SECONDS)
        return text


@dataclass(frozen=True, slots=True)
class ProvisionedAccounts:
    """What the city's states say: the capabilities that are up, by cloud and name, and the accounts in use."""

    servers: Mapping[tuple[str, str], Server]
    accounts: frozenset[Account]


def provisioned_accounts(backend: Backend, catalogue: Catalogue) -> ProvisionedAccounts:
    """Read all of the city's states for their capabilities and accounts."""
    servers: dict[tuple[str, str], Server] = {}
    accounts: set[Account] = set()
    for stack in backend.list_stacks():
        name = StackName.parse(stack)
        if name.city != backend.city or name.layer not in ("platform", "crossing", "tenant"):
            continue
        state = backend.read_state(stack)
        if state is None:
            continue
        accounts |= accounts_in(stack, state)
        if name.layer == "platform":
            servers |= {(item.cloud, item.endpoint.capability): item for item in _servers(state, catalogue)}
    return ProvisionedAccounts(servers, frozenset(accounts))


def _servers(state: StackState, catalogue: Catalogue) -> Iterator[Server]:
    """The capabilities of a platform's stack that make accounts and are not taken down."""
    platform = endpoints_in(state)
    for endpoint in platform.endpoints:
        kind = catalogue.get(endpoint.type)
        if kind is None or kind.binding is None or not kind.binding.provisioner:
            continue
        if platform.has(endpoint, endpoint.admin_secret):
            is_backed_up = bool(kind.backup) and platform.has(endpoint, cron_job_name(endpoint.capability))
            yield Server(platform.cloud, state.stack, endpoint, kind, platform.is_tls(endpoint), is_backed_up)
