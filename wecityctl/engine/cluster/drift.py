"""Controls the drift of one run's stacks: examines each stack before it runs and corrects the drift as the rules
demand.

The rules are one table (docs/explanation/drift.md). Missing objects are dropped from the state, so that the engine
creates them again. Changed objects are corrected here, with either Kubernetes provider. Refused corrections are left to
the engine's apply, which fails with the conflict unless the files agree with the live object by then.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from wecityctl.drift.restore_counts import RestoreCounts
from wecityctl.engine.cluster import probe
from wecityctl.engine.cluster.examination import counted, examine_cases, key_of, written_otherwise
from wecityctl.engine.cluster.query import ask
from wecityctl.engine.context.context import Context
from wecityctl.engine.process.event_log import is_conflict, name_of, type_of
from wecityctl.engine.process.outcome import describe, first_line
from wecityctl.engine.state.checkpoint import Deployment, StackState, StateResource
from wecityctl.engine.state.edit import marked_finished, marked_unfinished, without_resources
from wecityctl.errors import WecityError
from wecityctl.inputs import Cluster
from wecityctl.model import naming
from wecityctl.model.events import Diagnostic, Emit, PropertyChange, ResourceChange, StackResult
from wecityctl.model.findings import RESTORES, Finding
from wecityctl.model.security import SECURITY_KINDS
from wecityctl.model.stacknames import LAYERS

if TYPE_CHECKING:
    from wecityctl.drift.examine import Case
    from wecityctl.drift.recorded_object import RecordedObject
    from wecityctl.kube.client import KubeClient

WAY_OUT = "`wecityctl up --take-over` changes it back"
# For objects that the API server does not allow to be changed back.
_DELETE = "it cannot be changed back; where nothing in it is needed, `{}` and the next `up` make it anew"
_INTENDED = {
    "security": "`up` restores it",
    "conflict": "`up` changes it back",
    "addition": "`up` removes it",
}
_DONE = {"conflict": "changed back", "addition": "removed"}


@dataclass(slots=True)
class Settled:
    """What was done about a stack's drift or, in a preview, what an `up` would do."""

    findings: list[Finding] = field(default_factory=list)
    changes: list[ResourceChange] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    notices: list[str] = field(default_factory=list)
    missing: set[str] = field(default_factory=set)
    refused: dict[str, str] = field(default_factory=dict)
    foreseen: set[str] = field(default_factory=set)
    untold: list[Diagnostic] = field(default_factory=list)
    # The objects as they were examined or as our last write returned them, by the probe's keys.
    seen: dict[str, probe.Seen] = field(default_factory=dict)

    @property
    def needs_engine(self) -> bool:
        """Whether the engine has to create or apply some of the objects."""
        return bool(self.missing or self.refused)

    def change(self, finding: Finding) -> None:
        """Add the change that corrects a finding; as with the engine's changes, one per object."""
        properties = tuple(
            PropertyChange(
                item.path,
                "delete" if item.wanted is None else "add" if item.live is None else "update",
                item.live,
                item.wanted,
            )
            for item in finding.fields
        )
        for index, known in enumerate(self.changes):
            if known.urn == finding.urn:
                self.changes[index] = replace(known, properties=(*known.properties, *properties))
                return
        name, kind = name_of(finding.urn), type_of(finding.urn)
        self.changes.append(ResourceChange(finding.urn, kind, name, "update", properties))

    def edited(self, deployment: Deployment) -> Deployment:
        """Return the state to give the engine: without missing resources, and with refused ones
        marked as unfinished.
        """
        known = marked_finished(without_resources(deployment, self.missing), self.foreseen)
        return marked_unfinished(known, self.refused)

    def within(self, result: StackResult, conflicts: Collection[str] = ()) -> StackResult:
        """Return the result of the stack's run together with its drift, except for objects that the run has deleted.

        `conflicts` are the URNs of the run's failed changes that conflicted with other field managers.
        """
        gone = {change.urn for change in result.changes if change.op == "delete"}
        self._drop({item.message for item in self.untold if item.urn in gone})
        self.findings = [item for item in self.findings if item.urn not in gone]
        self.changes = [change for change in self.changes if change.urn not in gone]
        # Without a conflict in the apply, the files agree with the live object by now.
        done = {change.urn for change in result.changes}
        agreed = {urn for urn in self.refused if urn in done or result.outcome in ("succeeded", "unchanged")}
        self._drop({self.refused[urn] for urn in agreed})
        known = done | {change.urn for change in result.failed}
        changes = [change for change in self.changes if change.urn not in known]
        before = {change.urn: change for change in self.changes}
        told_by_engine = tuple(_after(change, before.get(change.urn)) for change in result.changes)
        outcome = "succeeded" if changes and result.outcome == "unchanged" else result.outcome
        reason = "" if changes and result.outcome == "unchanged" else result.reason
        warnings, errors = [*self.warnings, *self.notices], [*self.errors, *result.errors]
        if outcome == "failed" and conflicts:
            told = {urn: text for urn, text in self.refused.items() if urn not in agreed}
            # Report the conflict once, in our wording instead of the engine's.
            foreseen = [f"{name_of(urn)}: " for urn in conflicts if urn in told]
            errors = [text for text in result.errors if not (is_conflict(text) and text.startswith(tuple(foreseen)))]
            errors = [*self.errors, *told.values(), *errors]
            warnings = [text for text in warnings if text not in told.values()]
            reason = first_line(errors)
            if not self.errors and _are_all_refusals(result, conflicts):
                outcome = "refused"
        if self.errors and outcome != "cancelled":
            outcome, reason = "failed", reason or first_line(self.errors)
        unforeseen = tuple(_conflict(result.stack, urn) for urn in conflicts if urn not in self.refused)
        return replace(
            result,
            outcome=outcome,
            reason=reason,
            changes=(*changes, *told_by_engine),
            unchanged=max(0, result.unchanged - len(changes)),
            errors=tuple(errors),
            warnings=(*warnings, *result.warnings),
            findings=(
                *(replace(item, resolved=item.resolved or item.urn in agreed) for item in self.findings),
                *unforeseen,
            ),
            failed=tuple(change for change in result.failed if change.urn not in conflicts),
        )

    def _drop(self, texts: Collection[str]) -> None:
        """Remove messages that no longer apply."""
        self.untold = [item for item in self.untold if item.message not in texts]
        self.warnings = [text for text in self.warnings if text not in texts]
        self.notices = [text for text in self.notices if text not in texts]


class DriftControl:
    """Examines the stacks of a run, and corrects the drift of each when its turn comes."""

    def __init__(self, context: Context, emit: Emit) -> None:
        self._context = context
        self._emit = emit
        self._restored = RestoreCounts(context.backend.url, context.plan.city.name)
        self._cases: dict[str, tuple[Case, ...]] = {}
        self._failed: dict[str, WecityError] = {}
        self._settled: dict[str, Settled] = {}

    def look(self, stacks: Iterable[str]) -> None:
        """Examine stacks, one cluster at a time. `settle` raises the error of a stack that could not be examined."""
        by_cloud: dict[str, list[str]] = {}
        for name in stacks:
            planned = self._context.stacks[name]
            if LAYERS[planned.layer].needs_cluster and planned.cloud in self._context.clusters:
                by_cloud.setdefault(planned.cloud, []).append(name)
        for cloud, names in by_cloud.items():
            self._look_at(self._context.clusters[cloud], [name for name in names if name not in self._cases])

    def _look_at(self, cluster: Cluster, names: Sequence[str]) -> None:
        try:
            states = [self._own(state) for name in names if (state := self._context.state(name)) is not None]
            cases = examine_cases(cluster, self._context.backend, states)
        except WecityError as error:
            self._failed |= dict.fromkeys(names, error)
            return
        for name in names:
            self._cases[name] = tuple(case for case in cases if case.recorded.stack == name)

    def look_again(self, state: StackState) -> None:
        """Examine a stack again in a state that now has more resources; otherwise like `look`."""
        cluster = self._context.cluster_of(state.stack)
        self._cases.pop(state.stack, None)
        self._failed.pop(state.stack, None)
        if cluster is None:
            return
        try:
            self._cases[state.stack] = examine_cases(cluster, self._context.backend, [self._own(state)])
        except WecityError as error:
            self._failed[state.stack] = error

    def _own(self, state: StackState) -> StackState:
        """Return the state without objects that this identity may not read: a tenant's deployer sees only the tenant's
        namespaces.
        """
        planned = self._context.stacks.get(state.stack)
        if not self._context.options.given or planned is None or planned.layer != "tenant":
            return state
        own = {naming.tenant_namespace(planned.subject, zone.name) for zone in self._context.plan.city.zones}
        return replace(state, resources=tuple(item for item in state.resources if _place_of(item) in own))

    def undisturbed(self, cluster: Cluster, keys: Iterable[str]) -> None:
        """Record that the probe found these objects unchanged, without an examination."""
        for key in keys:
            self._restored.clean(cluster.identifier, key)

    def save(self) -> None:
        """Store the counts of restorations."""
        self._restored.save()

    def settled(self, stack: str) -> Settled:
        """Return what `settle` did for the stack; empty if it was not examined."""
        return self._settled.get(stack) or Settled()

    def within(self, stack: str, result: StackResult, conflicts: Collection[str] = ()) -> StackResult:
        """Return the result of the stack's run together with its drift, and emit the messages on drift that remains.

        `conflicts` are the URNs of the run's failed changes that conflicted with other field managers.
        """
        settled = self.settled(stack)
        whole = settled.within(result, conflicts)
        for item in settled.untold:
            self._emit(item)
        settled.untold.clear()
        return whole

    def settle(self, stack: str) -> Settled:
        """Correct the stack's drift or, in a preview, say what an `up` would do.

        Raises the error that kept the stack from being examined.
        """
        if stack in self._failed:
            raise self._failed[stack]
        done = self._settled[stack] = Settled()
        cases = self._cases.get(stack, ())
        cluster = self._context.cluster_of(stack)
        if cluster is None or not cases:
            return done
        if self._context.options.operation == "preview":
            for case in cases:
                self._foresee(case, cluster, done)
            return done
        done.seen = {key_of(case.recorded): probe.as_seen(case.live) for case in cases if case.live is not None}
        if any(case.findings or case.lost for case in cases):
            self._put_all_right(cluster, cases, done)
        else:
            self.undisturbed(cluster, (key_of(case.recorded) for case in cases))
        self.save()
        return done

    def _put_all_right(self, cluster: Cluster, cases: Iterable[Case], done: Settled) -> None:
        from wecityctl.kube.errors import Invalid

        async def settle_all(client: KubeClient) -> None:
            for case in cases:
                try:
                    await self._put_right(client, case, cluster, done)
                except WecityError as error:
                    text = f"{_title(case)} is left as it is, for it cannot be put right: {describe(error)}"
                    advice = "\n" + _DELETE.format(_kubectl(case.recorded)) if isinstance(error, Invalid) else ""
                    done.errors.append(text + advice)

        ask(cluster, settle_all)
        self.save()

    def is_settled(self, stack: str) -> bool:
        """Whether `settle` has already run for this stack."""
        return stack in self._settled

    def make_again(self, stack: str, result: StackResult) -> StackResult:
        """Create missing security objects of namespaces again for a stack whose engine did not run; return the result.

        An object that is not created again remains an unresolved finding.
        """
        done = self.settled(stack)
        made, errors = self._make_all_again(stack, [case for case in self._lacking(stack) if case.recorded.encloses])
        done.errors += errors
        for index, finding in enumerate(done.findings):
            if finding.urn not in done.missing:
                continue
            done.findings[index] = finding = replace(finding, resolved=finding.urn in made)
            if finding.resolved:
                done.changes = [item for item in done.changes if item.urn != finding.urn] + [_created(finding.urn)]
                if finding.what == "missing":
                    self._tell(done.warnings, finding, finding.told("made again"))
        return self.within(stack, result)

    def make_again_after(self, stack: str, result: StackResult) -> StackResult:
        """Create missing security objects again for a stack whose engine failed before it reached them.

        Only objects that restrict access are created: the files may no longer have those that allow access or grant
        rights.
        """
        state = self._context.state(stack)
        tried = {*(state.urns if state is not None else ()), *(change.urn for change in result.failed)}
        lacking = [
            item for item in self._lacking(stack) if item.recorded.only_closes and item.recorded.urn not in tried
        ]
        made, errors = self._make_all_again(stack, lacking)
        texts: list[str] = []
        for finding in result.findings:
            if finding.urn in made:
                self._tell(texts, finding, finding.told("made again"))
        return replace(
            result,
            changes=(*result.changes, *map(_created, sorted(made))),
            warnings=(*result.warnings, *texts),
            errors=(*result.errors, *errors),
        )

    def _lacking(self, stack: str) -> list[Case]:
        missing = self.settled(stack).missing
        return [case for case in self._cases.get(stack, ()) if case.recorded.urn in missing]

    def _make_all_again(self, stack: str, cases: Sequence[Case]) -> tuple[set[str], list[str]]:
        """Create the objects; return the URNs of those created, and the errors of the others."""
        from wecityctl.drift.restore import make_again

        cluster = self._context.cluster_of(stack)
        made: set[str] = set()
        errors: list[str] = []

        async def make_each(client: KubeClient) -> None:
            for case in cases:
                try:
                    if await make_again(client, case.recorded):
                        made.add(case.recorded.urn)
                except WecityError as error:
                    errors.append(f"{_title(case)} cannot be made again: {describe(error)}")

        if cases and cluster is not None:
            ask(cluster, make_each)
        return made, errors

    def check_written(self, stack: str, changes: Sequence[ResourceChange]) -> None:
        """Check that the security objects just written by the engine are as declared, and restore the others.

        An admission webhook may change objects in a run but not in the dry runs before it. An object that was in no
        state and that the provider adopted may still contain what others have added.
        """
        kinds = {"Namespace", *(kind for _, kind in SECURITY_KINDS)}
        written = {change.urn for change in changes if type_of(change.urn).rpartition(":")[2] in kinds}
        cluster = self._context.cluster_of(stack)
        if cluster is None or not written:
            return
        state = self._context.reread(stack)
        if state is None:
            return
        done = self._settled.setdefault(stack, Settled())
        written -= {finding.urn for finding in done.findings if finding.is_overruled}
        adopted: set[str] = set()
        for finding in written_otherwise(cluster, self._context.backend, state, written):
            if finding.admission:
                done.findings.append(finding)
                self._tell_unresolved(finding, done)
            else:
                adopted.add(finding.urn)
        if adopted:
            doubtful = tuple(item for item in state.resources if item.is_provider or item.urn in adopted)
            try:
                cases = examine_cases(cluster, self._context.backend, [replace(state, resources=doubtful)])
                self._put_all_right(cluster, [_security_alone(case) for case in cases], done)
            except WecityError as error:
                done.errors.append(f"not restored: {describe(error)}")

    def _foresee(self, case: Case, cluster: Cluster, done: Settled) -> None:
        for found in case.findings:
            finding = self._judged(found, case, cluster)
            done.findings.append(finding)
            if finding.what == "conflict":
                # Reported here, because retrying an apply that an `up` has refused would end the engine's preview.
                done.foreseen.add(finding.urn)
            if finding.what == "missing":
                done.missing.add(finding.urn)
                if finding.deleting:
                    self._tell(done.warnings, finding, f"{finding}; `up` waits until it is gone and makes it again")
            elif finding.resolved:
                done.change(finding)
                self._tell(done.warnings, finding, finding.told(_INTENDED[finding.what]))
            else:
                self._tell_unresolved(finding, done, remake=case.remake)

    async def _put_right(self, client: KubeClient, case: Case, cluster: Cluster, done: Settled) -> None:
        from wecityctl.drift.restore import own_again, restore, take_over

        key, taken = key_of(case.recorded), False
        judged = [self._judged(found, case, cluster) for found in case.findings]
        takes = any(finding.resolved and finding.what in ("conflict", "addition") for finding in judged)
        if case.lost and not takes:
            done.seen[key] = probe.as_seen(await own_again(client, case))
        gone = case.recorded.is_security and any(finding.what == "missing" for finding in judged)
        if not gone and not any(found.what == "security" for found in case.findings):
            self._restored.clean(cluster.identifier, key)
        for finding in judged:
            done.findings.append(finding)
            if finding.what == "missing":
                done.missing.add(finding.urn)
                if gone:
                    self._count_gone(finding, cluster, key, done)
            elif not finding.resolved:
                self._tell_unresolved(finding, done, remake=case.remake)
            elif finding.what == "security":
                try:
                    restored = await restore(client, case)
                    if restored is None:
                        done.missing.add(finding.urn)
                    else:
                        done.seen[key] = probe.as_seen(restored)
                except WecityError:
                    done.findings[-1] = replace(finding, resolved=False)
                    raise
                if self._context.options.take_over:
                    self._restored.clean(cluster.identifier, key)
                self._restored.again(cluster.identifier, key)
                done.change(finding)
                self._tell(done.warnings, finding, finding.told("restored"))
            else:
                if not taken:
                    done.seen[key] = probe.as_seen(await take_over(client, case))
                    taken = True
                done.change(finding)
                self._tell(done.warnings, finding, finding.told(_DONE[finding.what]))

    def _count_gone(self, finding: Finding, cluster: Cluster, key: str, done: Settled) -> None:
        """Create a repeatedly deleted security object again, but report an error after `RESTORES` times."""
        if self._context.options.take_over:
            self._restored.clean(cluster.identifier, key)
        elif finding.restored >= RESTORES:
            done.errors.append(
                f"{finding}\nit was made again or restored {finding.restored} times and lost each time; it is made "
                "once more\n"
                "find out who deletes it and stop that; `wecityctl up --take-over` counts from the start"
            )
        self._restored.again(cluster.identifier, key)

    def _judged(self, found: Finding, case: Case, cluster: Cluster) -> Finding:
        finding = counted(found, self._restored, cluster)
        takes = self._context.options.take_over and not (case.remake and finding.what == "conflict")
        # Nobody else owns the fields, as after a run of ours that was cancelled: the engine's apply has no conflict.
        # `up` leaves it to the engine, which may have something newer to write.
        foreseen = self._context.options.operation == "preview" and _is_nobodys(finding, remake=case.remake)
        restores = finding.what == "security" and not finding.is_stopped
        resolved = finding.what == "missing" or takes or foreseen or restores
        return replace(finding, resolved=resolved and not finding.admission)

    def _tell_unresolved(self, finding: Finding, done: Settled, *, remake: bool = False) -> None:
        if finding.is_left:
            text = finding.notice
            done.notices.append(text)
            done.untold.append(Diagnostic(finding.stack, "warning", text, finding.urn))
        elif finding.is_overruled:
            self._tell_error(
                finding,
                done,
                f"{finding}\nit is left as it is, for whatever is written would be changed again\n"
                f"remove or narrow {' or '.join(finding.admission)}, then run `wecityctl up` again",
            )
        elif finding.is_stopped:
            text = (
                f"{finding}\nit was restored {RESTORES} times and changed back each time, and is left as it is\n"
                f"find out what {finding.who or 'changes it'} does and stop it; then {WAY_OUT}"
            )
            self._tell_error(finding, done, text)
        else:
            way_out = _DELETE.format(_kubectl(finding)) if remake else WAY_OUT
            what = _INTENDED["conflict"] if _is_nobodys(finding, remake=remake) else ""
            text = finding.told(what or f"refused unless the files say the same: {way_out}")
            if self._context.options.operation != "preview":
                # A dry run would end the engine's preview at the first conflict, so it is reported here.
                done.refused[finding.urn] = text
            done.warnings.append(text)
            done.untold.append(Diagnostic(finding.stack, "warning", text, finding.urn))

    def _tell_error(self, finding: Finding, done: Settled, text: str) -> None:
        if self._context.options.operation == "preview":
            self._tell(done.warnings, finding, text)
        else:
            done.errors.append(text)

    def _tell(self, where: list[str], finding: Finding, text: str) -> None:
        where.append(text)
        self._emit(Diagnostic(finding.stack, "warning", text, finding.urn))


def _is_nobodys(finding: Finding, *, remake: bool) -> bool:
    """Whether declared fields differ, and no other manager owns them, so that a write without force is not refused."""
    return finding.what == "conflict" and not (finding.managers or finding.admission or remake)


def _after(change: ResourceChange, before: ResourceChange | None) -> ResourceChange:
    """Merge an engine's change of an object with our correction before it: from the live values to the final ones.

    The engine compares only with its state and does not know what others have changed since.
    """
    if before is None or change.op != "update":
        return change
    new = {item.path: item for item in change.properties}
    merged = [
        replace(item, new=new[item.path].new, kind="update" if item.kind == "update" else new[item.path].kind)
        if item.path in new
        else item
        for item in before.properties
    ]
    known = {item.path for item in merged}
    return replace(change, properties=(*merged, *(item for item in change.properties if item.path not in known)))


def _are_all_refusals(result: StackResult, conflicts: Collection[str]) -> bool:
    """Whether a stack's run failed only with conflicts with other field managers."""
    prefixes = tuple(f"{name_of(urn)}: " for urn in conflicts)
    return {change.urn for change in result.failed} <= {*conflicts} and all(
        is_conflict(text) and text.startswith(prefixes) for text in result.errors
    )


def _conflict(stack: str, urn: str) -> Finding:
    """Return a finding for a conflict that the engine met and no examination had found."""
    place, _, kind = type_of(urn).rpartition(":")
    version = place.rpartition(":")[2]
    namespace, _, name = name_of(urn).rpartition("/")
    return Finding(stack, urn, version.removeprefix("core/"), kind, namespace, name, "conflict")


def _security_alone(case: Case) -> Case:
    return replace(case, findings=tuple(item for item in case.findings if item.what == "security"), lost={}, added={})


def _created(urn: str) -> ResourceChange:
    return ResourceChange(urn, type_of(urn), name_of(urn), "create")


def _kubectl(found: Finding | RecordedObject) -> str:
    place = f" -n {found.namespace}" if found.namespace else ""
    return f"kubectl delete {found.kind.lower()} {found.name}{place}"


def _title(case: Case) -> str:
    recorded = case.recorded
    return (
        f"{recorded.kind} {recorded.namespace}/{recorded.name}"
        if recorded.namespace
        else (f"{recorded.kind} {recorded.name}")
    )


def _place_of(resource: StateResource) -> str:
    """Return the namespace of an object, or a Namespace's own name; empty for other cluster-scoped objects."""
    meta = resource.outputs.get("metadata")
    if not isinstance(meta, Mapping):
        return ""
    return str(meta.get("name" if resource.outputs.get("kind") == "Namespace" else "namespace") or "")
