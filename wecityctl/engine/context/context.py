"""Data shared by the steps of one run: states and outputs (read on first use), secrets, and each stack's inputs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime
from functools import cached_property
from typing import Any

from wecityctl.engine.context import secret_store
from wecityctl.engine.context.ending_accounts import Account, noted, planned_accounts, settle
from wecityctl.engine.context.landing_outputs import LAYER as LANDING
from wecityctl.engine.context.options import RunOptions
from wecityctl.engine.process.provider_choice import ProviderChoice
from wecityctl.engine.secrets.certificate_names import names_digest
from wecityctl.engine.state.backend import Backend
from wecityctl.engine.state.checkpoint import KUBERNETES_PROVIDER, StackState
from wecityctl.engine.state.records import Record
from wecityctl.engine.state.run_locks import RunLocks
from wecityctl.errors import DeploymentError, WecityError
from wecityctl.inputs import Cluster, Clusters, StackInputs, reach_of
from wecityctl.model import naming
from wecityctl.model.catalogue import Catalogue
from wecityctl.model.outputs import Outputs, outputs_from_json
from wecityctl.model.stacknames import StackName
from wecityctl.plan import Stack
from wecityctl.session import Session


class Context:
    """The data of one run. It makes no decisions about stacks and starts nothing."""

    def __init__(
        self,
        session: Session,
        options: RunOptions,
        clusters: Clusters,
        backend: Backend,
        provider: ProviderChoice,
        kept: tuple[str, ...] = (),
        locks: RunLocks | None = None,
    ) -> None:
        self._session, self._day = session, date.today()
        self.plan = session.plan
        self.locks = locks or RunLocks()
        self.options = options
        # Grows during the run: a landing zone that comes up adds its cluster.
        self.clusters: dict[str, Cluster] = dict(clusters.found)
        # Stopped embedded clouds as they were when last running; a preview is computed against them.
        self.stopped: Mapping[str, Cluster] = dict(clusters.stopped)
        self.backend = backend
        self.provider = provider
        self.stacks = {stack.name: stack for stack in session.plan.stacks}
        self._unreachable = dict(clusters.failed)
        self._kept_stacks = kept
        self._states: dict[str, StackState | None] = {}
        self._outputs: dict[str, Mapping[str, Any] | None] = {}
        self._kept: dict[str, str] | None = None
        self._secrets: dict[str, str] | None = None
        self._certificates: dict[str, str] | None = None

    def require_reachable(self, stack: str) -> None:
        """Raise the error that makes the stack's cloud unreachable, if there is one. Stacks on other clouds are not
        affected.

        Landing zones are exempt: the vendor's API does not depend on the cluster, and the landing zone may repair it.
        """
        planned = self.stacks.get(stack)
        if planned is None or planned.layer == LANDING:
            return
        if planned.cloud in self._unreachable:
            raise self._unreachable[planned.cloud]
        if self.is_on_pending_cloud(stack):
            raise DeploymentError(
                f"cloud {planned.cloud} has no cluster: its landing zone is not up",
                resolution=f"run `wecityctl up` with it: --only {planned.cloud}",
            )
        if self.options.operation != "preview":
            self._require_running(planned)

    def _require_running(self, planned: Stack) -> None:
        """Raise `DeploymentError` if the stack has objects on an embedded cloud that is not running."""
        cloud = self.plan.city.cloud(planned.cloud) if planned.cloud else None
        if cloud is None or cloud.provider != "local" or cloud.name in self.clusters:
            return
        name = naming.embedded_cloud(self.plan.city.name, cloud.name)
        if cloud.name in self.stopped:
            raise DeploymentError(
                f"cloud {cloud.name} is stopped",
                details=f"the objects of {planned.name} are on it",
                resolution=f"start it first: wecityctl local start --name {name}",
            )
        if self._has_objects(self.state(planned.name)):
            raise DeploymentError(
                f"cloud {cloud.name} is not on this machine: there is no embedded cloud {name}",
                details=f"the state of {planned.name} has objects on it",
                resolution="run this where the cloud is; if it was reset, `wecityctl up` first makes it anew",
            )

    @staticmethod
    def _has_objects(state: StackState | None) -> bool:
        return state is not None and any(resource.type == KUBERNETES_PROVIDER for resource in state.resources)

    def will_start(self) -> tuple[str, ...]:
        """Return the stopped clouds that have stacks in this run: an `up` starts them first."""
        clouds = dict.fromkeys(stack.cloud for stack in self.stacks.values())
        return tuple(cloud for cloud in clouds if cloud in self.stopped)

    def _is_gone(self, cloud: str, state: StackState) -> bool:
        """Whether the state has objects on an embedded cloud that is not on this machine. An `up` creates that cloud
        again.
        """
        if not cloud or self.plan.city.cloud(cloud).provider != "local":
            return False
        return self.cluster(cloud) is None and cloud not in self._unreachable and self._has_objects(state)

    def cluster(self, cloud: str) -> Cluster | None:
        """Return the cloud's cluster; a stopped one is returned as it was when last running."""
        return self.clusters.get(cloud) or self.stopped.get(cloud)

    def is_on_pending_cloud(self, stack: str) -> bool:
        """Whether the stack is on a vendor's cloud whose landing zone has not created a cluster yet."""
        planned = self.stacks.get(stack)
        if planned is None or not planned.cloud or planned.layer == LANDING or planned.cloud in self.clusters:
            return False
        return planned.cloud not in self._unreachable and self.plan.city.cloud(planned.cloud).has_landing_zone

    def arrived(self, cloud: str, cluster: Cluster) -> None:
        """Record that the cloud's cluster is reachable from now on."""
        self._unreachable.pop(cloud, None)
        self.clusters[cloud] = cluster

    def lost(self, cloud: str, error: WecityError) -> None:
        """Record that the cloud's cluster is not reachable, with the reason."""
        self.clusters.pop(cloud, None)
        self._unreachable[cloud] = error

    def state(self, stack: str) -> StackState | None:
        """Return the stack's state as of the first call in this run; `None` if the stack does not exist."""
        if stack not in self._states:
            state = self.backend.read_state(stack)
            self._states[stack] = None if state is not None and self._is_given_up(stack, state) else state
        return self._states[stack]

    def _is_given_up(self, stack: str, state: StackState) -> bool:
        """Whether a preview must show the stack as new, because an `up` would first drop the old cluster from its
        state.
        """
        planned = self.stacks.get(stack)
        if self.options.operation != "preview" or planned is None:
            return False
        return planned.cloud in self.options.new_clusters or self._is_gone(planned.cloud, state)

    def reread(self, stack: str) -> StackState | None:
        """Read the stack's state again and return it."""
        self._states.pop(stack, None)
        return self.state(stack)

    @property
    def catalogue(self) -> Catalogue:
        """The capability types that the plan was made with."""
        return self._session.catalogue

    @cached_property
    def planned_accounts(self) -> frozenset[Account]:
        """The accounts in capabilities that the city's files ask for."""
        return planned_accounts(self.plan.whole, self.catalogue)

    def learn(self, stack: str, outputs: Mapping[str, Any] | None) -> None:
        """Store the outputs of a stack, from this run or from a record."""
        if outputs is not None:
            self._outputs[stack] = outputs

    def learn_record(self, stack: str, record: Record | None) -> None:
        """Store the outputs in the record of a stack whose state has not changed since."""
        if record is not None:
            self.learn(stack, record.outputs)

    def typed(self, stack: str) -> Outputs | None:
        """Return the stack's typed outputs, from this run or else from its state; `None` without outputs of this
        version.
        """
        if stack not in self.stacks:
            return None
        data = self.outputs(stack)
        if data is None:
            return None
        try:
            return outputs_from_json(self.stacks[stack].layer, dict(data))
        except (ValueError, TypeError):
            # Written by another version: treated as if the stack did not exist yet.
            return None

    def outputs(self, stack: str) -> Mapping[str, Any] | None:
        """Return the stack's outputs as JSON values, from this run or else from its state."""
        if stack not in self._outputs:
            state = self.state(stack)
            self._outputs[stack] = state.outputs if state is not None else None
        return self._outputs[stack]

    def layer(self, stack: str) -> str:
        """Return the layer of a stack of the plan; `""` for other stacks."""
        return self.stacks[stack].layer if stack in self.stacks else ""

    def inputs(self, stack: Stack, *, with_secrets: bool = True) -> StackInputs:
        """Return the inputs for the stack's program."""
        secrets = self.secrets() if with_secrets and stack.secrets else {}
        clusters = {**self.stopped, **self.clusters}
        return self._session.inputs(stack, clusters, self._upstream(stack), secrets, self.provider.version, self._day)

    def _upstream(self, stack: Stack) -> dict[str, Outputs | None]:
        """Return the outputs of the stacks that this one depends on.

        The entry stack also gets the outputs of tenants that were removed from the configuration but whose removal is
        not confirmed yet: they keep running, so their routes must stay.
        """
        found = {need: self.typed(need) for need in stack.depends_on if self.layer(need) != "secrets"}
        if stack.layer == "entry":
            for name in self._kept_stacks:
                kept = StackName.parse(name)
                if kept.layer == "tenant" and kept.cloud == stack.cloud:
                    found[name] = self._last_tenant_outputs(name)
        return found

    def _last_tenant_outputs(self, stack: str) -> Outputs | None:
        state = self.state(stack)
        try:
            return outputs_from_json("tenant", dict(state.outputs or {})) if state is not None else None
        except (ValueError, TypeError):
            return None

    def kept_secrets(self) -> dict[str, str]:
        """Return the values in the city's secret store."""
        if self._kept is None:
            self._kept = secret_store.SecretStore(self.backend).read()
        return self._kept

    def secrets(self) -> dict[str, str]:
        """Return the secrets of this run: the stored ones and, in an `up`, new values for missing ones and due
        certificates.

        A preview leaves out due certificates, so values that depend on them are unknown until an `up`.
        """
        if self._secrets is None:
            kept, due = self.kept_secrets(), self._due()
            if self.options.operation == "up":
                names = [name for name in secret_store.needed(self.plan) if name not in due]
                current = {name: value for name, value in kept.items() if name not in self.stale_secrets}
                self._secrets = {**kept, **secret_store.with_generated(names, current), **due}
            else:
                self._secrets = {name: value for name, value in kept.items() if name not in due}
        return self._secrets

    def new_secrets(self) -> tuple[str, ...]:
        """Return the names of the values that the plan needs and the store lacks, and of certificates that are due."""
        kept = self.kept_secrets()
        stale = self.stale_secrets
        missing = [name for name in secret_store.needed(self.plan) if name not in kept or name in stale]
        return tuple(dict.fromkeys([*missing, *self._due()]))

    @cached_property
    def stale_secrets(self) -> frozenset[str]:
        """The names of credentials of accounts that were locked and whose users come back: they get others."""
        return frozenset(name for names in self._returning.values() for name in names)

    @cached_property
    def _returning(self) -> Mapping[Account, frozenset[str]]:
        """The accounts that were locked and whose users come back, with the names of their credentials."""
        if self.options.operation not in ("preview", "up"):
            return {}
        locked = {item.account for items in noted(self.backend).values() for item in items if item.done}
        types = {item: self.plan.city.capability(item.capability).type for item in locked & self.planned_accounts}
        return {item: frozenset(self.catalogue[kind].credential_keys(*item.parts)) for item, kind in types.items()}

    def settle_returned(self) -> None:
        """Forget that accounts were locked whose users are back and whose new credentials are in the secret store.

        Call it once the store is written: a run that is interrupted later must not make them anew. Only what is noted
        of this run's stacks is forgotten, as these are locked. Raises the back end's errors.
        """
        stored = set(secret_store.needed(self.plan))
        done = {account: False for account, names in self._returning.items() if names <= stored}
        if done:
            for stack in noted(self.backend).keys() & self.stacks.keys():
                settle(self.backend, stack, done)

    def certificate_names(self) -> str:
        """Return a digest of the subject names of the plan's certificates; empty if the plan needs none."""
        return names_digest(self.plan, self._addresses())

    def _addresses(self) -> dict[str, str]:
        """Return the addresses at which other clouds reach capabilities and apps, by capability name or
        `tenant/app`, as far as they are known.
        """
        clusters = {**self.stopped, **self.clusters}
        ends = {item.capability.name: item.target for item in self.plan.interconnects.uses}
        ends |= {f"{item.use.tenant}/{item.use.app}": item.target for item in self.plan.interconnects.app_uses}
        return {
            name: reach_of(self.plan.city.cloud(cloud), clusters.get(cloud)).address for name, cloud in ends.items()
        }

    def leave_certificates(self) -> None:
        """Renew no certificates in this run, because the secret store, which would have to keep
        them, is not updated.
        """
        self._certificates = {}

    def has_due(self, names: Iterable[str]) -> bool:
        """Whether one of the named values is a certificate that is missing or due for renewal."""
        return not self._due().keys().isdisjoint(names)

    def _due(self) -> dict[str, str]:
        """Return new values for certificates that are missing or due; computed once per run."""
        if self._certificates is None:
            # Imported here because the cryptography library is slow to load and most commands do not need it.
            from wecityctl.engine.secrets import certificates

            issues = self.options.operation in ("preview", "up")
            kept = self.kept_secrets() if issues else {}
            now, addresses = datetime.now(UTC), self._addresses()
            self._certificates = certificates.renewed(self.plan, kept, now, addresses) if issues else {}
        return self._certificates

    def needs_provider(self, stack: str) -> bool:
        """Whether the stack registers a Kubernetes provider or has one in its state.

        A program registers its provider even if the cluster does not exist yet, as in the first preview of a city.
        """
        planned = self.stacks.get(stack)
        if planned is not None and planned.cloud and planned.layer != LANDING:
            return True
        state = self.state(stack)
        return state is not None and any(resource.type == KUBERNETES_PROVIDER for resource in state.resources)

    def cluster_of(self, stack: str) -> Cluster | None:
        """Return the cluster that a stack is on.

        A stack of the plan is found by its cloud; one that was removed from the configuration, by the cluster
        identifier in its state.
        """
        planned = self.stacks.get(stack)
        if planned is not None:
            return self.clusters.get(planned.cloud)
        by_identifier = {cluster.identifier: cluster for cluster in self.clusters.values()}
        state = self.state(stack)
        for resource in state.resources if state is not None else ():
            identifier = resource.inputs.get("clusterIdentifier") if resource.is_provider else None
            if isinstance(identifier, str) and identifier in by_identifier:
                return by_identifier[identifier]
        return None
