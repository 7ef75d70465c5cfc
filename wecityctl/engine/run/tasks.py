"""What a run does with each stack: `UpdateTask` for preview, up and refresh; `DestroyTask` for destroy."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import suppress
from dataclasses import replace
from typing import Protocol

from wecityctl.engine.cluster.drift import DriftControl, Settled
from wecityctl.engine.cluster.handover import hand_over_replicas
from wecityctl.engine.cluster.pending import resolve_pending, restore_named
from wecityctl.engine.cluster.up_to_date import Look, UpToDateCheck
from wecityctl.engine.context import ending_accounts
from wecityctl.engine.context.context import Context
from wecityctl.engine.context.kubeconfigs import known_kubeconfigs
from wecityctl.engine.context.landing_outputs import LAYER as LANDING
from wecityctl.engine.context.landing_outputs import is_landing, kubeconfig_of
from wecityctl.engine.context.secret_store import has_certificates
from wecityctl.engine.context.state_ownership import StateOwnership
from wecityctl.engine.process.ipc import Job, PortRights, Report
from wecityctl.engine.process.outcome import result_of
from wecityctl.engine.removal.keeping import Keeping
from wecityctl.engine.removal.protection import lifted_of, vendor_providers
from wecityctl.engine.removal.removal import guarded_urns
from wecityctl.engine.removal.takedown import is_secrets, kept_objects, left_alone, released, retained, untouched
from wecityctl.engine.removal.unmanaged import Beside, TakenDown, look_beside
from wecityctl.engine.run.jobs import JobMaker, provider_registrations
from wecityctl.engine.run.partial_failure import apps_in, still_served, urns_of_apps
from wecityctl.engine.run.pending_clouds import PendingClouds
from wecityctl.engine.run.replaced_clusters import forget_old_cluster
from wecityctl.engine.state.abandoned_locks import break_dead
from wecityctl.engine.state.checkpoint import Deployment, StackState
from wecityctl.engine.state.integrity import UNSOUND
from wecityctl.engine.workers.vendors import missing_prerequisites, require_for_cloud, require_for_state
from wecityctl.errors import AuthenticationError, WecityError
from wecityctl.inputs import Cluster, StackInputs
from wecityctl.model.city import Cloud
from wecityctl.model.events import Diagnostic, Emit, KeptObject, Operation, StackResult
from wecityctl.model.stacknames import LAYERS
from wecityctl.model.words import counted


def clear_the_way(context: Context, stack: str, emit: Emit) -> None:
    """Remove what a killed run has left: dead locks, missing state entries, pending operations.
    Raises `LockedError`.
    """
    context.locks.claim((stack,))
    for lock in break_dead(context.backend, stack):
        emit(Diagnostic(stack, "info", f"removed the lock of a dead run ({lock})"))
    restore_lost(context, stack, emit)
    state = context.state(stack)
    if state is not None and state.pending:
        for line in resolve_pending(context.backend, state, context.cluster_of(stack)):
            emit(Diagnostic(stack, "info", line))
        context.reread(stack)


def restore_lost(context: Context, stack: str, emit: Emit, before: StackState | None = None) -> bool:
    """Restore providers and parents that the state refers to but lacks; the engine rejects such a state.

    Returns whether anything was restored.
    """
    state = context.state(stack)
    if state is None or not restore_named(context.backend, state, before):
        return False
    emit(
        Diagnostic(
            stack, "info", "the state has back what objects that are still there belong to: the engine had dropped it"
        )
    )
    context.reread(stack)
    return True


def note_leaving(context: Context, stack: str) -> None:
    """Note which accounts in capabilities a run of the stack takes away, before it does: they are locked after it."""
    found = ending_accounts.accounts_in(stack, context.state(stack))
    if found and context.options.operation == "up":
        found -= context.planned_accounts
    ending_accounts.note(context.backend, stack, found, delete=context.options.delete_data)


def without_integrity_errors(report: Report) -> Report:
    """Return the report without the integrity errors of a state that has been repaired."""
    told = ("snapshot integrity failure", UNSOUND)
    return replace(report, errors=tuple(text for text in report.errors if not any(part in text for part in told)))


def _kubeconfigs(context: Context, stack: str) -> frozenset[str]:
    clusters = (*context.clusters.values(), *context.stopped.values())
    return known_kubeconfigs(context.backend, context.state(stack), clusters)


class OpenProvisioned(Protocol):
    """Connects to the cluster that a landing zone has created."""

    def __call__(self, cloud: Cloud, kubeconfig: str, *, fresh: bool) -> Cluster:
        """Return the cluster; raises `WecityError` if it does not answer. `fresh`: it may be new and slow to answer."""


class UpdateTask:
    """`preview`, `up` and `refresh` of the stacks of the plan."""

    def __init__(
        self,
        context: Context,
        maker: JobMaker,
        up_to_date: UpToDateCheck,
        emit: Emit,
        pending_clouds: PendingClouds,
        open_provisioned: OpenProvisioned | None,
        drift: DriftControl,
    ) -> None:
        self._drift = drift
        self._context = context
        self._maker = maker
        self._up_to_date = up_to_date
        self._emit = emit
        self._pending_clouds = pending_clouds
        self._open_provisioned = open_provisioned
        self._keeping = Keeping(context)
        self._ownership = StateOwnership(context)
        self.reports: dict[str, Report] = {}
        # Only in a preview: deployments that include the retained resources which an `up` would restore to the state.
        self.with_kept: dict[str, Deployment] = {}
        # What each stack's state had before retained resources were restored to it.
        self._known: dict[str, frozenset[str]] = {}
        self.good: dict[str, StackInputs] = {}
        # The apps of each tenant's stack that stay as they are, because a capability that they need has failed.
        self._held: dict[str, frozenset[str]] = {}

    @property
    def doubts(self) -> tuple[str, ...]:
        """Notes on marks of retained data that are not trusted."""
        return self._keeping.doubts

    @property
    def _operation(self) -> Operation:
        return self._context.options.operation

    def skip_reason(self, stack: str) -> StackResult | None:
        """Return the result of a stack that needs no run; `None` for others."""
        if stack in self._context.options.given:
            return self._take_as_given(stack)
        if stack in self._context.options.apart:
            return StackResult(stack, "skipped", reason="not part of this run")
        if self._context.layer(stack) == "secrets":
            return self._leave_out_secrets(stack)
        if self._operation == "refresh" and self._context.state(stack) is None:
            return StackResult(stack, "skipped", reason="does not exist yet")
        if self._operation == "preview" and self._context.is_on_pending_cloud(stack):
            return self._pending_clouds.preview(stack)
        self._context.require_reachable(stack)
        inputs = self._context.inputs(self._context.stacks[stack], with_secrets=False)
        left_out = self._up_to_date.skip_reason(inputs)
        if left_out is not None and inputs.cluster is not None:
            self._drift.undisturbed(inputs.cluster, self._up_to_date.objects(stack))
        return left_out or (self._leave_out_landing(inputs) if inputs.stack.layer == LANDING else None)

    def _take_as_given(self, stack: str) -> StackResult:
        """Return the result of a stack that this identity may not change.

        Raises `AuthenticationError` if the stack has no outputs that others could use.
        """
        # A city without secret values has no secret store.
        if self._context.layer(stack) != "secrets" and self._context.typed(stack) is None:
            raise AuthenticationError(
                f"{stack} is not up, and these credentials may not make it",
                resolution="have the city's operator bring it up first",
            )
        return StackResult(stack, "skipped", reason="taken as it is: these credentials may not change it")

    def is_settled(self, stack: str) -> bool:
        """Whether the engine would find nothing to do in a stack, unless one of its objects is gone
        from the cluster.
        """
        planned = self._context.stacks[stack]
        if not LAYERS[planned.layer].needs_cluster:
            return False
        if has_certificates(planned.secrets) and self._context.has_due(planned.secrets):
            return False
        return self._up_to_date.is_settled(self._context.inputs(planned, with_secrets=False))

    def _leave_out_landing(self, inputs: StackInputs) -> StackResult | None:
        """Skip a landing zone whose inputs are unchanged if this machine lacks the vendor's prerequisites, such as
        credentials.

        App operators have no credentials of the vendor. An expired record or a new version of this program must not
        require them. The result says that the landing zone was not examined.
        """
        if not self._up_to_date.has_same_values(inputs):
            return None
        lacking = missing_prerequisites(self._context.plan.city.cloud(inputs.stack.cloud))
        if not lacking:
            return None
        return StackResult(inputs.stack.name, "skipped", reason=f"not looked at: {lacking[0].message}")

    def _leave_out_secrets(self, stack: str) -> StackResult | None:
        record = self._up_to_date.record(stack)
        needed = {name for other in self._context.stacks.values() for name in other.secrets}
        # Certificates expire without any change to the files.
        is_recent = record is not None and (not has_certificates(needed) or self._up_to_date.is_recent(stack))
        names = self._context.certificate_names()
        has_all = record is not None and needed <= set(record.names) - self._context.stale_secrets
        if record is not None and is_recent and has_all and record.values == names:
            self._context.leave_certificates()
            return StackResult(stack, "unchanged", reason=counted(len(record.names), "value"))
        new = self._context.new_secrets()
        count = counted(len(new), "value")
        if self._operation == "up" and new:
            return None
        if not new:
            if self._operation == "up":
                self._up_to_date.note_secrets(tuple(self._context.kept_secrets()), names)
            return StackResult(stack, "unchanged", reason=counted(len(self._context.kept_secrets()), "value"))
        return StackResult(stack, "unchanged", reason=f"{count} would be generated")

    def job(self, stack: str, open_port: Callable[[PortRights], int]) -> Job | StackResult:
        """Return the stack's job after preparing its state, or its result if only drift had to be corrected."""
        context, planned = self._context, self._context.stacks[stack]
        if planned.layer == LANDING:
            require_for_cloud(context.plan.city.cloud(planned.cloud))
        if self._operation != "preview":
            clear_the_way(context, stack, self._emit)
            self._up_to_date.forget(stack)
        if self._operation == "up":
            # A landing zone may have replaced its cluster in this run.
            forget_old_cluster(context, stack, self._emit)
        self._ownership.require_own(stack)
        if planned.layer == "secrets":
            return self._maker.make(stack, self._operation, state=context.state(stack), values=context.secrets())
        held = self._held.get(stack, frozenset())
        if held and len(held) == len(apps_in(context.plan, planned)):
            return StackResult(stack, "blocked", reason="every app needs a capability that did not come up")
        begun = time.monotonic()
        if (before := context.state(stack)) is not None:
            self._known[stack] = before.urns
        restored = self._bring_back(stack)
        kept = self._keeping.whole(stack) if self._operation == "preview" else None
        if kept is not None and kept.deployment is not None:
            self.with_kept[stack] = kept.deployment
        settled = self._settle_drift(stack, kept or (context.state(stack) if restored else None))
        if not settled.needs_engine and self.is_settled(stack):
            return self._without_engine(stack, time.monotonic() - begun)
        state = context.state(stack)
        shown = self._keeping.deployment(stack) if kept is not None else None
        if (settled.missing or settled.foreseen) and self._operation == "preview":
            shown = settled.edited(shown or context.backend.sealed(stack))
        elif settled.needs_engine and state is not None and state.deployment is not None:
            context.backend.store.write(stack, settled.edited(state.deployment))
            state = context.reread(stack)
        if self._operation == "up":
            hand_over_replicas(context, stack, self._emit)
            note_leaving(context, stack)
        port = 0
        # Other providers need a cluster to compare with.
        serves = context.provider.kind == "builtin" or planned.cloud in context.stopped
        if serves and context.needs_provider(stack):
            port = open_port(self._rights(stack))
        guarded = frozenset() if context.options.confirms(stack) else guarded_urns(state) - restored
        inputs = context.inputs(planned)
        parents = {item.urn: item.parent for item in state.resources} if state is not None and held else {}
        return self._maker.make(
            stack,
            self._operation,
            state=state,
            inputs=replace(inputs, held=held, last=context.typed(stack)) if held else inputs,
            guarded=guarded,
            port=port,
            shown=shown,
            excluded=urns_of_apps(stack, held, parents),
        )

    def _rights(self, stack: str) -> PortRights:
        options = self._context.options
        return PortRights(options.confirms(stack), options.take_over, _kubeconfigs(self._context, stack))

    def _bring_back(self, stack: str) -> frozenset[str]:
        """Restore the retained resources of the stack to its state, and return their URNs.

        A confirmed `up` may drop more of them from the state; those are marked first, so that a later run finds them.
        """
        if self._operation != "up":
            return frozenset()
        if self._context.options.confirms(stack):
            self._keeping.mark(stack)
        before = self._context.state(stack)
        if not self._keeping.restore(stack):
            return frozenset()
        after = self._context.state(stack)
        return (after.urns if after is not None else frozenset()) - (before.urns if before is not None else frozenset())

    def _settle_drift(self, stack: str, with_kept: StackState | None = None) -> Settled:
        """Examine the stack's drift in full, unless the probe found no change. A refresh reads everything itself.

        `with_kept` is the state including retained resources that have not been examined yet: anybody could change them
        while the stack was down.
        """
        if with_kept is not None:
            self._drift.look_again(with_kept)
        elif self._operation == "refresh" or (
            self._up_to_date.is_probed(stack) and not self._up_to_date.has_left(stack)
        ):
            return Settled()
        else:
            self._drift.look([stack])
        return self._drift.settle(stack)

    def settle_blocked(self, result: StackResult) -> StackResult:
        """Restore the security objects of a stack that was blocked or whose run has failed.

        The rest of the stack is unchanged. Missing objects that restrict access to its namespaces are created again.
        """
        stack = result.stack
        try:
            self._context.locks.claim((stack,))
            if stack in self.reports:
                return self._drift.make_again_after(stack, result)
            if not self._drift.is_settled(stack):
                # Retained resources stay out of the state until the stack runs, but their access is restricted now.
                self._settle_drift(stack, self._keeping.whole(stack))
            return self._drift.make_again(stack, result)
        except WecityError as error:
            self._emit(Diagnostic(result.stack, "warning", f"not examined: {error.message}"))
            return result

    def _without_engine(self, stack: str, seconds: float) -> StackResult:
        result = StackResult(stack, "unchanged", unchanged=self._up_to_date.unchanged(stack), seconds=seconds)
        result = self._drift.within(stack, result)
        if result.outcome != "failed":
            self.good[stack] = self._context.inputs(self._context.stacks[stack], with_secrets=False)
        return result

    @property
    def looks(self) -> dict[str, Look]:
        """What the run has observed of the objects of the stacks that succeeded."""
        return {stack: self._look_of(stack) for stack in self.good}

    def _look_of(self, stack: str) -> Look:
        settled = self._drift.settled(stack)
        written = {change.urn for change in self.reports[stack].changes} if stack in self.reports else set()
        left = tuple(item for item in settled.findings if item.is_left)
        return Look(self._up_to_date.seen(stack) | settled.seen, frozenset(written), left)

    def report(self, stack: str, report: Report) -> StackResult:
        """Store the stack's outputs, return its result, and remember the stack for its record if it succeeded."""
        self.reports[stack] = report
        if self._context.layer(stack) == "secrets":
            if report.exit_code == 0 and self._operation == "up":
                self._up_to_date.note_secrets(tuple(self._context.secrets()), self._context.certificate_names())
                # If it fails, the accounts stay noted: the end of the run, or the next one, settles them.
                with suppress(WecityError, OSError):
                    self._context.settle_returned()
            new = len(self._context.new_secrets())
            result = result_of(stack, report)
            reason = result.reason or f"{counted(new, 'value')} generated"
            outcome = "succeeded" if result.outcome == "unchanged" else result.outcome
            return replace(result, outcome=outcome, changes=(), unchanged=0, reason=reason)
        if report.exit_code and self._operation != "preview":
            before = self._context.state(stack)
            self._context.reread(stack)
            if restore_lost(self._context, stack, self._emit, before):
                report = without_integrity_errors(report)
        if self._operation == "up":
            self._drift.check_written(stack, report.changes)
        settled = self._drift.settled(stack)
        # What an earlier run has kept is restored to the state in every run, and dropped again.
        known = self._known.get(stack, frozenset())
        report = replace(report, kept=tuple(item for item in report.kept if item.urn in known))
        result = self._drift.within(stack, result_of(stack, report), report.conflicts)
        if report.exit_code == 0 or result.outcome == "refused":
            self._context.learn(stack, report.outputs)
        # If the run may have taken over fields that others had written, field ownership is examined again in the next
        # run.
        is_known = not settled.refused and not (settled.notices and report.changes)
        if stack in self._held and result.outcome in ("succeeded", "unchanged"):
            names = ", ".join(sorted(self._held[stack]))
            reason = f"left as it is, since a capability that it needs did not come up: {names}"
            result = replace(result, outcome="failed", reason=reason, errors=(reason,))
        if result.outcome != "failed" and report.exit_code == 0 and is_known:
            # The inputs of now: the outputs of upstream stacks are known by this time.
            self.good[stack] = self._context.inputs(self._context.stacks[stack], with_secrets=False)
            if self._operation == "up":
                self._keeping.settle(stack)
        cloud = self._context.stacks[stack].cloud
        if self._operation == "preview" and cloud in self._context.stopped and not result.reason:
            return replace(result, reason=f"worked out from the state: cloud {cloud} is stopped")
        return result

    def has_outputs(self, stack: str) -> bool:
        """Whether the stack's dependants can use its outputs."""
        return self._context.typed(stack) is not None

    def serves(self, stack: str) -> Collection[str]:
        """Return the stacks that use working capabilities of a failed platform stack, tenants' stacks also for some of
        their apps alone; stores its outputs for them.
        """
        context, report = self._context, self.reports.get(stack)
        if context.layer(stack) != "platform" or self._operation != "up" or report is None:
            return ()
        if report.cancelled or report.timed_out or report.outputs is None:
            return ()
        failed = [change.urn for change in report.failed]
        served = still_served(context.plan, context.catalogue, context.stacks[stack], failed)
        if served:
            context.learn(stack, report.outputs)
        for name, apps in served.items():
            if apps:
                self._held[name] = self._held.get(name, frozenset()) | apps
        return frozenset(served)

    def afterwards(self, stack: str) -> Callable[[], None] | None:
        """Return the work that connects to the cluster which a landing zone has created or changed."""
        context = self._context
        if context.layer(stack) != LANDING or self._operation == "preview" or self._open_provisioned is None:
            return None
        cloud = context.plan.city.cloud(context.stacks[stack].cloud)
        kubeconfig = kubeconfig_of(context.outputs(stack)) or ""
        report, open_provisioned = self.reports[stack], self._open_provisioned
        fresh = bool(report.changes or report.failed)

        def reach() -> None:
            try:
                context.arrived(cloud.name, open_provisioned(cloud, kubeconfig, fresh=fresh))
            except WecityError as error:
                context.lost(cloud.name, error)
            except Exception as error:
                context.lost(cloud.name, WecityError(f"cloud {cloud.name}: {type(error).__name__}: {error}"))

        return reach


class DestroyTask:
    """`destroy`, and the removal of stacks that were removed from the configuration. Empty stacks are deleted from the
    state back end.
    """

    def __init__(
        self, context: Context, maker: JobMaker, up_to_date: UpToDateCheck, emit: Emit, keeping: Keeping
    ) -> None:
        self._context = context
        self._maker = maker
        self._up_to_date = up_to_date
        self._emit = emit
        self._keeping = keeping
        self._ownership = StateOwnership(context)
        self._kept: dict[str, tuple[KeptObject, ...]] = {}
        self._beside = Beside()
        self.deleted: set[str] = set()
        self.reports: dict[str, Report] = {}
        self.kept: set[str] = set()

    def look_beside(self, stacks: Iterable[str]) -> tuple[str, ...]:
        """Report undeclared objects in these stacks' namespaces before any stack is touched; return notes on what was
        not examined.

        A stack that cannot be examined fails with its error when its turn comes.
        """
        taken: list[TakenDown] = []
        for stack in stacks:
            with suppress(WecityError):
                taken += self._taken_down(stack)
        states = {name: self._context.state(name) for name in self._context.backend.list_stacks()}
        deployments = {name: state.deployment for name, state in states.items() if state is not None}
        self._beside = look_beside(self._context.plan.city, taken, deployments)
        self._beside.tell(self._emit)
        return self._beside.notes

    def _taken_down(self, stack: str) -> Iterator[TakenDown]:
        self._context.require_reachable(stack)
        cluster = self._keeping.cluster(stack)
        whole = self._keeping.whole(stack) or self._context.state(stack)
        if cluster is not None and whole is not None:
            kept = () if self._context.options.delete_data else kept_objects(whole, cluster)
            yield TakenDown(stack, cluster, whole, kept)

    def skip_reason(self, stack: str) -> StackResult | None:
        """Return the result of a stack that does not exist, and of the secret store, which has no resources; `None` for
        others.
        """
        left_out = self._left_out(stack)
        return self._beside.within(left_out) if left_out is not None else None

    def _left_out(self, stack: str) -> StackResult | None:
        delete_data = self._context.options.delete_data
        if delete_data and not is_secrets(stack):
            # Resources retained by an earlier run are deleted now.
            self._keeping.restore(stack)
        state = self._context.state(stack)
        if why := left_alone(stack, state, delete_data=delete_data):
            if state is not None:
                self.kept.add(stack)
            return untouched(stack, why, () if delete_data else self._keeping.kept(stack))
        assert state is not None
        if is_secrets(stack):
            return self._drop_secrets(stack)
        self._context.require_reachable(stack)
        if not state.resources:
            self._up_to_date.forget(stack)
            self._delete(stack)
            return StackResult(stack, "succeeded", reason="was empty")
        return None

    def has_outputs(self, stack: str) -> bool:
        """Always false: a stack is not deleted while its dependants exist."""
        return False

    def serves(self, stack: str) -> Collection[str]:
        """Always empty: a stack is not deleted while its dependants exist."""
        return ()

    def afterwards(self, stack: str) -> Callable[[], None] | None:
        """Always `None`: nothing follows."""
        return None

    def _drop_secrets(self, stack: str) -> StackResult:
        clear_the_way(self._context, stack, self._emit)
        self._up_to_date.forget(stack)
        self._delete(stack)
        return StackResult(stack, "succeeded", reason="deleted")

    def _delete(self, stack: str) -> None:
        self._context.backend.delete_stack(stack)
        self.deleted.add(stack)

    def job(self, stack: str, open_port: Callable[[PortRights], int]) -> Job:
        """Return the job that deletes the stack's resources; data is retained unless `delete_data` is set."""
        context = self._context
        if is_landing(stack) and (made := context.state(stack)) is not None:
            planned = context.stacks.get(stack)
            require_for_state(made, context.plan.city.cloud(planned.cloud) if planned is not None else None)
        clear_the_way(context, stack, self._emit)
        self._ownership.require_own(stack)
        self._up_to_date.forget(stack)
        state = context.state(stack)
        assert state is not None
        note_leaving(context, stack)
        if not context.options.delete_data:
            earlier = self._keeping.kept(stack)
            kept = kept_objects(state, context.cluster_of(stack))
            self._kept[stack] = (*earlier, *kept)
            self._write(stack, state, retained(state.deployment or {}, [item.urn for item in kept]))
            self._keeping.mark(stack)
        else:
            self._write(stack, state, released(state.deployment or {}))
        state = context.state(stack)
        assert state is not None
        port = (
            open_port(PortRights(replace_data=True, kubeconfigs=_kubeconfigs(context, stack)))
            if context.provider.kind == "builtin" and context.needs_provider(stack)
            else 0
        )
        providers = provider_registrations(context.backend, state, context.clusters)
        lifted = lifted_of(context.backend, state) if is_landing(stack) and context.options.delete_data else ()
        providers += vendor_providers(context.backend, state, {item.provider for item in lifted})
        return self._maker.make(stack, "destroy", state=state, providers=providers, port=port, lifted=lifted)

    def _write(self, stack: str, state: StackState, deployment: Deployment) -> None:
        if state.deployment is not None and deployment != state.deployment:
            self._context.backend.store.write(stack, deployment)
            self._context.reread(stack)

    def report(self, stack: str, report: Report) -> StackResult:
        """Delete the stack itself if it is empty, and return its result."""
        self.reports[stack] = report
        begun = time.monotonic()
        before, state = self._context.state(stack), self._context.reread(stack)
        if report.exit_code and restore_lost(self._context, stack, self._emit, before):
            report = without_integrity_errors(report)
        if report.exit_code == 0 and (state is None or state.is_empty):
            self._delete(stack)
        result = result_of(stack, report)
        result = replace(
            result,
            outcome="succeeded" if result.outcome == "unchanged" else result.outcome,
            seconds=result.seconds + time.monotonic() - begun,
            kept=self._kept.get(stack, ()),
        )
        return self._beside.within(result)
