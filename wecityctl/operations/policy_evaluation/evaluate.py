"""Records a session's stacks and evaluates the policy rules, in this process.

A stack that cannot be recorded is reported as a violation that cannot be waived, because its objects are unknown.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import date

from wecityctl.errors import ConfigurationError, WecityError
from wecityctl.model.catalogue import Catalogue
from wecityctl.model.words import counted
from wecityctl.operations.offline import StandsOnError, record_what_can_be
from wecityctl.placement import Placement
from wecityctl.policy.check import PolicyReport, Violation, judge
from wecityctl.policy.model import Finding, PolicyInput
from wecityctl.policy.rules import RULES
from wecityctl.policy.unseen import RECORDED
from wecityctl.resource_graph import Recording
from wecityctl.session import Session
from wecityctl.spec.loaded import LoadedCity


def judge_session(session: Session, day: date) -> PolicyReport:
    """Return the policy report on a city's current files, with the waivers that are valid on `day`."""
    recordings, failures = record_what_can_be(session)
    return _policy_report(session, day, recordings, failures)


def _policy_report(
    session: Session, day: date, recordings: tuple[Recording, ...], failures: Mapping[str, Exception]
) -> PolicyReport:
    policy_input = PolicyInput(session.city, session.catalogue, session.plan.placement, session.images, recordings)
    policy_report = judge(policy_input, day, RULES)
    refusing = tuple(stack for stack, error in failures.items() if isinstance(error, WecityError))
    return replace(policy_report, findings=(*_unseen(failures), *policy_report.findings), refusing=refusing)


def judge_what_can_be(session: Session, day: date) -> tuple[PolicyReport, ConfigurationError | None]:
    """Return the policy report for the `policy` command, and an error if stacks could not be evaluated.

    If only the files or the installation keep stacks from being recorded, this is one error instead of a violation for
    each stack; the report then covers the rest.
    """
    recordings, failures = record_what_can_be(session)
    refusals = {name: error for name, error in failures.items() if not isinstance(error, StandsOnError)}
    errors = [error for error in refusals.values() if isinstance(error, ConfigurationError)]
    if not errors or len(errors) < len(refusals):
        return _policy_report(session, day, recordings, failures), None
    return _policy_report(session, day, recordings, {}), _as_one(errors, tuple(failures))


def _as_one(errors: Sequence[ConfigurationError], stacks: Sequence[str]) -> ConfigurationError:
    """Combine the errors: each cause once, with the number of stacks that it affects."""
    causes = list(dict.fromkeys(error.message for error in errors))
    ways = list(dict.fromkeys(error.resolution for error in errors if error.resolution))
    count = counted(len(stacks), "stack")
    return ConfigurationError(
        "; ".join(causes),
        details=f"so no rule can look at {count}: {', '.join(stacks)}",
        resolution="; ".join(ways),
    )


def judge_unplaced(loaded: LoadedCity, catalogue: Catalogue, day: date) -> PolicyReport:
    """Return the policy report on files without a feasible placement, from rules that need only the files.

    Waivers are left out, since most of the rules that they apply to cannot be evaluated.
    """
    policy_input = PolicyInput(loaded.city, catalogue, Placement({}, {}, ""), {})
    policy_report = judge(policy_input, day, tuple(rule for rule in RULES if rule.of_files))
    return replace(policy_report, notes=(), evidence=())


def _unseen(failures: Mapping[str, Exception]) -> tuple[Violation, ...]:
    return tuple(
        Violation(RECORDED.name, RECORDED.title, "mandatory", RECORDED.veto, _finding(stack, error))
        for stack, error in failures.items()
    )


def _finding(stack: str, error: Exception) -> Finding:
    if isinstance(error, WecityError):
        reason = f"{error.message} ({error.details})" if error.details else error.message
        resolution = error.resolution
    else:
        reason, resolution = f"{type(error).__name__}: {error}", ""
    return Finding(
        subject=f"stack {stack}",
        message=f"nothing can be said of what it would make: {reason}",
        resolution=resolution or "mend the program that fails",
        stack=stack,
    )
