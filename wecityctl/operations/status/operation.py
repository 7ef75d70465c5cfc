"""The steps of `status`: collects from clusters and states, and judges what was found."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

from wecityctl.errors import ExitCode, WecityError, error_text
from wecityctl.operations.alerts import Alerts, alerts_of
from wecityctl.operations.probes import ProbeStatus, is_alarming, last_probes, run_probes
from wecityctl.operations.state_copies import StateCopies, look
from wecityctl.operations.status.addresses import app_addresses
from wecityctl.operations.status.examination import balancer_statuses, examine_clouds, find_lacking
from wecityctl.operations.status.judging import exit_code, stack_statuses
from wecityctl.operations.status.rollouts import RolloutStatus, rollout_statuses
from wecityctl.operations.status.values import AppAddress, Away, BalancerStatus, StackStatus, WorkloadStatus
from wecityctl.operations.status.workloads import workload_statuses
from wecityctl.operations.told_servers import ToldServer, told_servers

if TYPE_CHECKING:
    from wecityctl.engine.state.backend import Backend
    from wecityctl.inputs import Cluster, Clusters
    from wecityctl.model.events import Emit
    from wecityctl.resource_graph import Recording
    from wecityctl.session import Session


@dataclass(frozen=True, slots=True)
class CityStatus:
    """The status of a city. `exit_code` is 0 if everything is as the last run left it.

    `copies` is what the target of backups has of the states; `None` if no `up` copies them, or it does not answer.
    """

    stacks: tuple[StackStatus, ...]
    workloads: tuple[WorkloadStatus, ...]
    balancers: tuple[BalancerStatus, ...]
    away: Away
    notes: tuple[str, ...]
    exit_code: int
    probes: tuple[ProbeStatus, ...] = ()
    addresses: tuple[AppAddress, ...] = ()
    rollouts: tuple[RolloutStatus, ...] = ()
    alerts: Alerts = field(default_factory=lambda: Alerts((), {}))
    told: tuple[ToldServer, ...] = ()
    copies: StateCopies | None = None


def status(session: Session, emit: Emit, *, probe: bool = False) -> CityStatus:
    """Return the status of the city's stacks, and the differences between its clusters and the last run.

    The results of the capabilities' end-to-end probes are those of the last `up`, or with `probe` those of probes that
    run now.
    """
    from wecityctl.clusters import open_clusters
    from wecityctl.engine.state.backend import open_backend

    backend = open_backend(session.city)
    clusters = open_clusters(session.city, session.catalogue, emit, start=False, backend=backend)
    read = workload_statuses(session.city.name, clusters.found)
    answering = {name: item for name, item in clusters.found.items() if name not in read.failed}
    examined = examine_clouds(session.plan, backend, answering, lambda: _registered(session))
    failed = {**clusters.failed, **read.failed, **examined.failed}
    away = _away(session, clusters, failed)
    stacks = stack_statuses(session.plan, backend, away, examined.found, examined.kept)
    reached = {name: item for name, item in answering.items() if name not in examined.failed}
    lacking = find_lacking(stacks, partial(_recorded, session), backend, reached)
    if lacking:
        stacks = stack_statuses(session.plan, backend, away, (*examined.found, *lacking), examined.kept)
    if probe:
        probes = run_probes(session.city, backend, session.catalogue, reached)
    else:
        probes = last_probes(backend, session.catalogue, reached)
    told = _told(session, reached, stacks)
    code = _exit_code(session, stacks, read.found, failed)
    if code == ExitCode.OK and (
        any(is_alarming(item) for item in probes) or any(item.state == "problems" for item in told)
    ):
        code = ExitCode.DEPLOYMENT
    alerts = alerts_of(session.city, session.catalogue, backend, reached)
    copies, unknown = _copies(session, backend)
    if code == ExitCode.OK and (alerts.firing or alerts.failed):
        code = ExitCode.DEPLOYMENT
    return CityStatus(
        stacks,
        read.found,
        balancer_statuses(clusters.provisioned),
        away,
        (*examined.notes, *unknown),
        code,
        probes,
        app_addresses(session.plan, backend),
        rollout_statuses(session, backend),
        alerts,
        told,
        copies,
    )


def _copies(session: Session, backend: Backend) -> tuple[StateCopies | None, tuple[str, ...]]:
    """What the target of backups has of the states, if an `up` copies them, and why that is not known."""
    backup = session.city.compliance.backup
    if not backup.is_taken or not backup.states:
        return None, ()
    try:
        return look(session.city, backend), ()
    except (WecityError, OSError) as error:
        return None, (f"what {backup.target} has of the states is not known: {error_text(error)}",)


def _told(session: Session, clusters: Mapping[str, Cluster], stacks: Sequence[StackStatus]) -> tuple[ToldServer, ...]:
    """What the servers say of themselves on clouds where platforms are up."""
    up = {item.cloud for item in stacks if item.layer == "platform" and item.resources}
    return told_servers(session, {name: item for name, item in clusters.items() if name in up})


def _exit_code(
    session: Session,
    stacks: Sequence[StackStatus],
    workloads: Sequence[WorkloadStatus],
    failed: Mapping[str, WecityError],
) -> int:
    """Return the exit code; if no cloud answers, that of the clouds' errors."""
    if failed and len(failed) == len(session.city.clouds):
        return max(error.exit_code for error in failed.values())
    return exit_code(stacks, workloads)


def _recorded(session: Session, names: tuple[str, ...] = ()) -> Sequence[Recording]:
    """Return what the programs of the stacks, or of those named, register; failing programs are left out. Loads the
    SDK.
    """
    from wecityctl.operations.offline import record_what_can_be

    return record_what_can_be(session, names)[0]


def _registered(session: Session) -> Iterator[str]:
    """Yield the URNs that the city's stacks would register; failing programs are left out."""
    from wecityctl.engine.workers.forecast import creations

    for recording in _recorded(session):
        yield from (change.urn for change in creations(recording))


def _away(session: Session, clusters: Clusters, failed: Mapping[str, WecityError]) -> Away:
    """Return the clouds that could not be examined, with the reasons."""
    from wecityctl.clusters import local_name

    stopped: dict[str, str] = {}
    unreachable: dict[str, str] = {}
    for cloud in session.city.clouds:
        if cloud.name in failed or cloud.name in clusters.found:
            continue
        if cloud.name in clusters.stopped:
            start = f"wecityctl local start --name {local_name(session.city, cloud)}"
            stopped[cloud.name] = f"cloud {cloud.name} is stopped; `up` starts it, or {start}"
        elif cloud.provider == "local":
            stopped[cloud.name] = f"cloud {cloud.name} is not on this machine; `up` makes it"
        else:
            unreachable[cloud.name] = "its landing zone has not been made"
    return Away.of(stopped, unreachable, failed)
