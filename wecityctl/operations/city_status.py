"""Collects the status of a city: stacks from their states, workloads from the clusters. Changes nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

from wecityctl.errors import ExitCode, TimedOutError, WecityError
from wecityctl.inputs import Cluster
from wecityctl.kube.resource import Object, ResourceType
from wecityctl.model.city import City
from wecityctl.model.events import KeptObject
from wecityctl.model.findings import Drift, Finding
from wecityctl.model.naming import CITY_LABEL, PART_OF_LABEL
from wecityctl.model.stacknames import StackName
from wecityctl.model.waivers import holds
from wecityctl.model.words import counted

if TYPE_CHECKING:
    from wecityctl.engine.cluster.lost import Registered
    from wecityctl.engine.state.backend import Backend
    from wecityctl.engine.state.checkpoint import StackState as EngineState
    from wecityctl.kube.client import KubeClient
    from wecityctl.model.outputs import LandingOutputs
    from wecityctl.plan import Plan
    from wecityctl.resource_graph import Recording

_POD = ResourceType("", "v1", "Pod", "pods", True)
# In more namespaces than this, pods are not read one by one for their reasons.
_MOST_NAMESPACES = 20
WORKLOADS = (("apps/v1", "Deployment"), ("apps/v1", "StatefulSet"), ("batch/v1", "Job"))


StackState = Literal[
    "ok",
    "failed",
    "incomplete",
    "drifted",
    "cloud-stopped",
    "cloud-unreachable",
    "cloud-forbidden",
    "never-made",
    "taken-down",
    "kept",
    "not-in-files",
]
# The engine writes its last state shortly after it records the end of the update, in whole seconds.
_WRITTEN_LATE = 5.0
_COMMANDS = {"update": "up"}
# The states of stacks that have no resources.
_ABSENT: tuple[StackState, ...] = ("never-made", "taken-down", "kept")
_REPORTED: tuple[Drift, ...] = ("addition",)


@dataclass(frozen=True, slots=True)
class StackStatus:
    """A stack's status. `last_update` is an RFC 3339 time, empty for a stack that does not exist.

    `state` is the worst known condition: `failed` if its last run did not succeed, `incomplete` if that was
    interrupted, `drifted` if its objects differ from its state (`drift` lists them), `taken-down` if it was destroyed,
    `kept` if its data was retained then (`kept` lists the objects). `reason` explains it in a sentence. `last_run` is
    the operation of the last run that ended, `last_result` its result.
    """

    stack: str
    layer: str
    resources: int
    last_update: str
    pending: int = 0
    errors: tuple[str, ...] = ()
    planned: bool = True
    state: StackState = "ok"
    reason: str = ""
    cloud: str = ""
    last_run: str = ""
    last_result: str = ""
    drift: tuple[Finding, ...] = ()
    kept: tuple[KeptObject, ...] = ()


@dataclass(frozen=True, slots=True)
class WorkloadStatus:
    """A workload in a cluster. `simulated` says that its pods do not really run."""

    cloud: str
    namespace: str
    kind: str
    name: str
    part_of: str
    ready: int
    wanted: int
    state: str
    reason: str
    simulated: bool


@dataclass(frozen=True, slots=True)
class Away:
    """The clouds that could not be examined, with the reasons: stopped embedded ones, those that deny these credentials
    the required reads, and unreachable ones.
    """

    stopped: Mapping[str, str] = field(default_factory=dict)
    unreachable: Mapping[str, str] = field(default_factory=dict)
    forbidden: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, stopped: Mapping[str, str], unreachable: Mapping[str, str], failed: Mapping[str, WecityError]) -> Away:
        """Sort the clouds by reason. `failed` has the errors of the clouds that were queried."""
        from wecityctl.kube.errors import Forbidden

        forbidden = {
            cloud: f"it answers, and these credentials may not read what `status` looks at: {error.message}"
            for cloud, error in failed.items()
            if isinstance(error, Forbidden)
        }
        silent = {cloud: error.message for cloud, error in failed.items() if cloud not in forbidden}
        return cls(stopped, {**silent, **unreachable}, forbidden)


def stack_statuses(
    plan: Plan,
    backend: Backend,
    away: Away,
    found: Sequence[Finding] = (),
    kept: Mapping[str, tuple[KeptObject, ...]] = {},
) -> tuple[StackStatus, ...]:
    """Return the status of every stack of the plan, and of stacks that exist or have retained data but were removed
    from the configuration.

    `found` has the differences between clusters and states, `kept` the objects retained by earlier runs, by stack.
    Clouds in `away` were not examined.
    """
    from wecityctl.engine.state import activity

    taken_down = activity.taken_down(activity.read(backend))
    planned = {stack.name: stack for stack in plan.stacks}
    names = list(dict.fromkeys([*planned, *backend.list_stacks(), *kept]))
    by_stack: dict[str, tuple[Finding, ...]] = {}
    for item in found:
        by_stack[item.stack] = (*by_stack.get(item.stack, ()), item)
    return tuple(
        _stack_status(plan, backend, name, away, by_stack.get(name, ()), kept.get(name, ()), taken_down.get(name, 0.0))
        for name in names
    )


def _stack_status(
    plan: Plan,
    backend: Backend,
    name: str,
    away: Away,
    drift: tuple[Finding, ...],
    kept: tuple[KeptObject, ...],
    taken_down: float,
) -> StackStatus:
    from wecityctl.engine.context.secret_store import needed

    stack = next((item for item in plan.stacks if item.name == name), None)
    layer = stack.layer if stack else StackName.parse(name).layer
    cloud = stack.cloud if stack and stack.layer != "landing" else ""
    state = backend.read_state(name)
    if state is None or not state.last_update:
        judged: StackState = "never-made" if stack else "not-in-files"
        reason, last = "", _last(backend, name) if state is not None else ("", "")
        if layer == "secrets" and not needed(plan):
            judged = "ok"
        elif stack and last[1] not in ("", "succeeded"):
            judged, reason = "failed", f"its last `{last[0]}` failed before it made anything"
        elif stack and taken_down:
            when = datetime.fromtimestamp(taken_down, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
            judged, reason = "taken-down", f"made, and taken down at {when}"
        if kept:
            judged, reason = "kept", f"taken down, {counted(len(kept), 'object')} kept"
            if altered := _drifted(drift):
                judged, reason = "drifted", f"{reason}; {altered}"
        elif judged == "failed" and (lacking := _drifted(drift)):
            reason = f"{reason}; {lacking}"
        elif stack and (altered := _drifted(drift)):
            # Its state is lost, but the objects that it created exist.
            judged, reason = "drifted", altered
        return StackStatus(
            name,
            layer,
            0,
            "",
            planned=stack is not None,
            state=judged,
            reason=reason,
            cloud=cloud,
            last_run=last[0],
            last_result=last[1],
            drift=drift,
            kept=kept,
        )
    objects = [item for item in state.resources if item.custom and not item.is_provider]
    update = backend.last_update(name) or {}
    known = StackStatus(
        name,
        layer,
        len(objects),
        state.last_update,
        len(state.pending),
        tuple(error for item in objects for error in item.init_errors),
        planned=stack is not None,
        cloud=cloud,
        last_run=_command(update),
        last_result=str(update.get("result") or ""),
        drift=drift,
    )
    ended = float(update.get("endTime") or 0)
    troubles = (*_troubles(known, ended, away), *(_ended_waivers(plan.city, state) if layer == "base" else ()))
    reason = "; ".join(text for _, text in troubles)
    return replace(known, state=troubles[0][0] if troubles else "ok", reason=reason)


def _command(update: Mapping[str, Any]) -> str:
    kind = str(update.get("kind") or "")
    return _COMMANDS.get(kind, kind)


def _last(backend: Backend, stack: str) -> tuple[str, str]:
    """Return the command and the result of a stack's last run; both empty if there is none."""
    last = backend.last_update(stack) or {}
    return _command(last), str(last.get("result") or "")


def _troubles(known: StackStatus, ended: float, away: Away) -> Iterator[tuple[StackState, str]]:
    """Yield the problems of an existing stack, worst first. `ended` is the end of its last run in
    seconds since 1970.
    """
    if not known.planned:
        yield "not-in-files", "no longer in the files"
    if known.pending:
        several = "s were" if known.pending > 1 else " was"
        yield "incomplete", f"interrupted: {known.pending} operation{several} under way"
    elif datetime.fromisoformat(known.last_update).timestamp() > ended + _WRITTEN_LATE:
        yield "incomplete", "interrupted: its last run did not come to an end"
    elif known.last_result != "succeeded":
        yield "failed", f"its last `{known.last_run}` failed" + (f": {known.errors[0]}" if known.errors else "")
    elif known.errors:
        yield "failed", f"not ready: {known.errors[0]}"
    if known.cloud in away.stopped:
        yield "cloud-stopped", away.stopped[known.cloud]
    elif known.cloud in away.unreachable:
        yield "cloud-unreachable", f"cloud {known.cloud}: {away.unreachable[known.cloud]}"
    elif known.cloud in away.forbidden:
        yield "cloud-forbidden", f"cloud {known.cloud}: {away.forbidden[known.cloud]}"
    if told := _drifted(known.drift):
        yield "drifted", told


def _ended_waivers(city: City, state: EngineState) -> Iterator[tuple[StackState, str]]:
    """Yield the expired waivers that the stack's admission policies, as of its last run, still apply."""
    from wecityctl.policy.admission import lets_pass, policy_name

    policies = [item.inputs for item in state.resources if item.type.endswith(":ValidatingAdmissionPolicy")]
    for waiver in city.waivers:
        if holds(waiver, date.today()):
            continue
        start = policy_name(city, waiver.rule)
        own = (item for item in policies if str((item.get("metadata") or {}).get("name")).startswith(start))
        if any(lets_pass(waiver, item) for item in own):
            text = f"waiver {waiver.name} ended on {waiver.expires}, and the cluster lets pass what it covers: run `up`"
            yield "drifted", text


def _drifted(drift: Iterable[Finding]) -> str:
    """Return how many objects drifted, as text; empty if none counts as a problem."""
    # Additions, and changes on admission, are reported but count as a problem only on security objects.
    wrong = [
        item
        for item in drift
        if item.what not in _REPORTED and not item.shared and (item.is_overruled or not item.admission)
    ]
    if wrong:
        deleting = sum(item.deleting for item in wrong)
        missing = sum(item.what == "missing" for item in wrong) - deleting
        lost = sum(bool(item.of_stack) for item in wrong)
        undeclared = sum(item.what == "undeclared" for item in wrong) - lost
        changed = len(wrong) - missing - deleting - undeclared - lost
        counts = (
            (missing, "missing"),
            (deleting, "being deleted"),
            (changed, "changed"),
            (undeclared, "undeclared"),
            (lost, "not in its state"),
        )
        told = " and ".join(f"{count} {word}" for count, word in counts if count)
        return f"{told} on the cluster"
    return ""


@dataclass(frozen=True, slots=True)
class Examined:
    """The differences between clusters and states, the objects retained by earlier runs by stack, and the error of each
    cloud that could not be read.

    `notes` list what was not examined.
    """

    found: tuple[Finding, ...] = ()
    kept: Mapping[str, tuple[KeptObject, ...]] = field(default_factory=dict)
    failed: Mapping[str, WecityError] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class BalancerStatus:
    """The load balancer of the entry point of `zone`: its identifier at the vendor and its address, which is on the
    internet if `public`.
    """

    cloud: str
    zone: str
    balancer: str
    address: str
    public: bool


def balancer_statuses(provisioned: Mapping[str, LandingOutputs]) -> tuple[BalancerStatus, ...]:
    """Return the load balancers in the outputs of landing zones, by cloud."""
    return tuple(
        BalancerStatus(cloud, zone, identifier, found.addresses.get(zone, ""), zone in found.public_zones)
        for cloud, found in provisioned.items()
        for zone, identifier in sorted(found.balancers.items())
    )


def examine_clouds(
    plan: Plan, backend: Backend, clusters: Mapping[str, Cluster], registered: Registered = tuple
) -> Examined:
    """Compare the plan's stacks with every cluster.

    `registered` returns the URNs that the stacks would register. It is called only if a cluster has objects of a Pulumi
    provider that are in no state.
    """
    from wecityctl.engine.cluster.examination import examine
    from wecityctl.engine.cluster.lost import with_their_stacks
    from wecityctl.engine.cluster.undeclared import look, unseen_notes
    from wecityctl.engine.removal.retained import find, namespaces_of
    from wecityctl.engine.removal.takedown import kept_objects, kept_of

    states = {name: state for name in backend.list_stacks() if (state := backend.read_state(name)) is not None}
    deployments = {name: state.deployment for name, state in states.items()}
    found: list[Finding] = []
    kept: dict[str, tuple[KeptObject, ...]] = {}
    notes: list[str] = []
    failed: dict[str, WecityError] = {}
    looked: set[str] = set()
    for cloud, cluster in clusters.items():
        here = [stack.name for stack in plan.stacks if stack.cloud == cloud and stack.layer != "landing"]
        made = [name for name in here if name in states]
        try:
            marks = find(cluster, plan.city.name, partial(namespaces_of, states.values(), cluster))
            notes += [text for text in marks.doubts if text not in notes]
            wholes = kept_of(marks, states, cluster)
            deployments |= {name: whole.deployment for name, whole in wholes.items()}
            # Retained objects are compared too: they were declared, and anybody could change them meanwhile.
            found += examine(
                cluster, backend, [wholes.get(name) or states[name] for name in dict.fromkeys((*made, *wholes))]
            )
            for name, whole in wholes.items():
                known = states[name].urns if name in states else frozenset()
                kept[name] = tuple(item for item in kept_objects(whole, cluster) if item.urn not in known)
            # Two clouds may be the same cluster.
            there = (*made, *wholes)
            if there and cluster.identifier not in looked:
                undeclared = look(cluster, plan.city, deployments, there[0])
                told = with_their_stacks(undeclared.findings, cluster, registered)
                # An undeclared object of a known stack is reported under that stack, whatever its namespace.
                found += [replace(item, stack=item.of_stack or item.stack) for item in told]
                notes += unseen_notes(cloud, undeclared)
                looked.add(cluster.identifier)
        except WecityError as error:
            failed[cloud] = error
    return Examined(tuple(found), kept, failed, tuple(notes))


def find_lacking(
    stacks: Sequence[StackStatus],
    record: Callable[[tuple[str, ...]], Sequence[Recording]],
    backend: Backend,
    clusters: Mapping[str, Cluster],
) -> tuple[Finding, ...]:
    """Return the objects that failed or interrupted runs of `stacks` did not create.

    `record` runs the stacks' programs offline. Clusters that do not answer are skipped, because that is reported
    already.
    """
    from wecityctl.engine.cluster.never_created import find_never_created

    undone = [item for item in stacks if item.state in ("failed", "incomplete") and item.cloud in clusters]
    if not undone:
        return ()
    recordings = record(tuple(item.stack for item in undone))
    found: list[Finding] = []
    for cloud, cluster in clusters.items():
        here = {item.stack for item in undone if item.cloud == cloud}
        states = {name: state for name in here if (state := backend.read_state(name)) is not None}
        try:
            found += find_never_created(
                cluster, backend.city, [item for item in recordings if item.stack in here], states
            )
        except WecityError:
            continue
    return tuple(found)


def exit_code(stacks: Sequence[StackStatus], workloads: Sequence[WorkloadStatus]) -> ExitCode:
    """Return 0 if everything is as the last run left it, 6 if nothing exists yet, 4 if anything is missing or wrong."""
    made = [item for item in stacks if item.layer != "secrets" and item.state not in _ABSENT]
    if not made:
        return ExitCode.NO_SUCH_STACK
    well = all(item.state in ("ok", "not-in-files") for item in stacks)
    return ExitCode.OK if well and all(item.state == "ready" for item in workloads) else ExitCode.DEPLOYMENT


@dataclass(frozen=True, slots=True)
class Workloads:
    """The workloads that were read, and the error of each cloud whose workloads could not be read."""

    found: tuple[WorkloadStatus, ...]
    failed: Mapping[str, WecityError]


def workload_statuses(city: str, clusters: Mapping[str, Cluster], *, seconds: float | None = None) -> Workloads:
    """Return the workloads of a city on every cluster that answers within `seconds` (default: from the environment).

    Those that are not ready give the reason of their pods, such as that no node has enough capacity.
    """
    from wecityctl.kube.identify import patience

    limit = patience() if seconds is None else seconds

    async def collect() -> list[tuple[WorkloadStatus, ...] | WecityError]:
        return await asyncio.gather(*(_within(limit, city, cluster) for cluster in clusters.values()))

    found: list[WorkloadStatus] = []
    failed: dict[str, WecityError] = {}
    for cloud, answer in zip(clusters, asyncio.run(collect()), strict=True):
        if isinstance(answer, WecityError):
            failed[cloud] = answer
        else:
            found += answer
    found.sort(key=lambda item: (item.cloud, item.namespace, item.kind, item.name))
    return Workloads(tuple(found), failed)


async def _within(seconds: float, city: str, cluster: Cluster) -> tuple[WorkloadStatus, ...] | WecityError:
    try:
        async with asyncio.timeout(seconds):
            return await _of_cluster(city, cluster, seconds)
    except TimeoutError:
        return TimedOutError(f"no full answer within {seconds:g} s")
    except WecityError as error:
        return error


async def _of_cluster(city: str, cluster: Cluster, seconds: float) -> tuple[WorkloadStatus, ...]:
    from wecityctl.kube.client import KubeClient
    from wecityctl.kube.config import load_access
    from wecityctl.kube.requester import RetryPolicy
    from wecityctl.kube.transport import HttpPool

    access, retry = load_access(cluster.kubeconfig), RetryPolicy(total_seconds=seconds)
    async with HttpPool() as pool, KubeClient(access, pool, retry=retry) as client:
        lists = await asyncio.gather(*(_list(client, city, version, kind) for version, kind in WORKLOADS))
        items = [item for items in lists for item in items]
        pods = await _pods_beside(client, city, items)
    return tuple(_workload(cluster, item, pods) for item in items)


async def _list(client: KubeClient, city: str, version: str, kind: str) -> Iterable[dict[str, Any]]:
    resource = await client.resource(version, kind)
    return await client.list(resource, label_selector=f"{CITY_LABEL}={city}")


async def _pods_beside(client: KubeClient, city: str, items: Iterable[Object]) -> Mapping[str, Sequence[Object]]:
    """Return the pods by namespace, for namespaces with a workload that is not ready: they give the reason."""
    from wecityctl.kube.errors import Forbidden
    from wecityctl.kube.readiness import assess

    waiting = sorted({item["metadata"]["namespace"] for item in items if assess(item).state != "ready"})

    async def pods_of(namespace: str) -> Sequence[Object]:
        try:
            return await client.list(_POD, namespace, label_selector=f"{CITY_LABEL}={city}")
        except Forbidden:
            return ()

    named = waiting[:_MOST_NAMESPACES]
    return dict(zip(named, await asyncio.gather(*map(pods_of, named)), strict=True))


def _workload(cluster: Cluster, item: Object, pods: Mapping[str, Sequence[Object]]) -> WorkloadStatus:
    from wecityctl.kube.readiness import assess
    from wecityctl.kube.readiness.model import Related
    from wecityctl.kube.readiness.pods import matches

    metadata, spec, status = item["metadata"], item.get("spec") or {}, item.get("status") or {}
    selector = spec.get("selector") or {}
    own = [pod for pod in pods.get(metadata["namespace"], ()) if matches(pod["metadata"].get("labels") or {}, selector)]
    judged = assess(item, Related(pods=own))
    is_job = item["kind"] == "Job"
    return WorkloadStatus(
        cloud=cluster.cloud,
        namespace=metadata["namespace"],
        kind=item["kind"],
        name=metadata["name"],
        part_of=(metadata.get("labels") or {}).get(PART_OF_LABEL, ""),
        ready=int(status.get("succeeded" if is_job else "readyReplicas") or 0),
        wanted=int(spec.get("completions" if is_job else "replicas") or 0),
        state=judged.state,
        reason=judged.reason,
        simulated=cluster.simulated,
    )
