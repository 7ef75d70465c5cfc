"""`policy`: evaluates the policy rules on a city, and collects the evidence of what enforces them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING

from wecityctl.errors import ConfigurationError
from wecityctl.model.events import Emit
from wecityctl.session import Session

if TYPE_CHECKING:
    from pathlib import Path

    from wecityctl.placement import InfeasiblePlacementError
    from wecityctl.policy.check import PolicyReport
    from wecityctl.policy.evidence import ComplianceReport
    from wecityctl.spec.loaded import Positions


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportOptions:
    """With `offline`, no cloud is examined; with `trying`, the policies are tested by dry runs."""

    offline: bool = False
    trying: bool = False


@dataclass(frozen=True, slots=True)
class PolicyCheck:
    """The policy report on a city's files, and the positions in these.

    `unseen` is the error that kept stacks from being evaluated, `unplaced` that of a city without a feasible placement,
    of which the files alone were evaluated.
    """

    report: PolicyReport
    positions: Positions
    unseen: ConfigurationError | None = None
    unplaced: InfeasiblePlacementError | None = None


def check_city(path: Path) -> PolicyCheck:
    """Evaluate the policy rules on the city at `path` as its files are now; nothing is taken from the cache.

    Raises the error that keeps something from being evaluated, unless a mandatory rule is violated by the rest.
    """
    from wecityctl.placement import InfeasiblePlacementError
    from wecityctl.session import open_session

    try:
        session = open_session(path)
    except InfeasiblePlacementError as error:
        found = _check_unplaced(path, error)
        if not found.report.mandatory:
            raise
        return found
    report, unseen = check_policies(session)
    if unseen is not None and not report.mandatory:
        raise unseen
    return PolicyCheck(report, session.positions, unseen)


def check_policies(session: Session) -> tuple[PolicyReport, ConfigurationError | None]:
    """Return the policy report on the city's current files, and the error that keeps stacks from being evaluated, if
    any.

    Nothing is taken from the cache.
    """
    from wecityctl.operations.policy_evaluation.evaluate import judge_what_can_be

    return judge_what_can_be(session, date.today())


def _check_unplaced(path: Path, error: InfeasiblePlacementError) -> PolicyCheck:
    from stacks.catalogue import load_catalogue
    from wecityctl.operations.policy_evaluation.evaluate import judge_unplaced
    from wecityctl.spec import load_city

    catalogue = load_catalogue()
    loaded = load_city(path, catalogue)
    return PolicyCheck(judge_unplaced(loaded, catalogue, date.today()), loaded.positions, unplaced=error)


def collect_evidence(session: Session, options: ReportOptions, emit: Emit) -> ComplianceReport:
    """Return the compliance report: what enforces each control, and what of it exists in the clouds."""
    from wecityctl.clusters import open_clusters
    from wecityctl.inputs import Clusters
    from wecityctl.operations.compliance import collect
    from wecityctl.operations.offline import record_what_can_be
    from wecityctl.policy.rules import RULES

    recordings, failures = record_what_can_be(session)
    clusters = Clusters() if options.offline else open_clusters(session.city, session.catalogue, emit, start=False)
    return collect(
        session,
        recordings,
        RULES,
        datetime.now(UTC),
        clusters,
        tuple(failures),
        trying=options.trying,
        asking_target=not options.offline,
    )


def base_stacks(session: Session) -> tuple[str, ...]:
    """Return the stacks that contain the admission policies; a refresh of the policies runs these."""
    return tuple(stack.name for stack in session.plan.stacks if stack.layer == "base")
