"""A session recorded and judged, here and now. A stack that cannot be recorded cannot be judged, and that is a finding
which nothing lifts: what is not known is not let pass.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import date

from wecityctl.errors import WecityError
from wecityctl.model.catalogue import Catalogue
from wecityctl.placement import Placement
from wecityctl.policy.check import UNSEEN, Judged, Verdict, judge
from wecityctl.policy.model import Finding, Posture
from wecityctl.policy.rules import RULES
from wecityctl.recordings import record_what_can_be
from wecityctl.session import Session
from wecityctl.spec.load import LoadedCity


def judge_session(session: Session, day: date) -> Verdict:
    """The verdict on a city as its files are, with the waivers that hold on `day`."""
    recordings, failures = record_what_can_be(session)
    posture = Posture(session.city, session.catalogue, session.plan.placement, session.images, recordings)
    verdict = judge(posture, day, RULES)
    refusing = tuple(stack for stack, error in failures.items() if isinstance(error, WecityError))
    return replace(verdict, findings=(*_unseen(failures), *verdict.findings), refusing=refusing)


def judge_unplaced(loaded: LoadedCity, catalogue: Catalogue, day: date) -> Verdict:
    """What can be said of files that ask for what no placement can give: where things may lie at all, and with whom.

    Nothing is said of waivers, since most of the rules that they are for cannot be asked.
    """
    posture = Posture(loaded.city, catalogue, Placement({}, {}, ""), {})
    verdict = judge(posture, day, tuple(rule for rule in RULES if rule.of_files))
    return replace(verdict, notes=(), evidence=())


def _unseen(failures: Mapping[str, Exception]) -> tuple[Judged, ...]:
    return tuple(
        Judged(UNSEEN, "Every stack can be looked at", "mandatory", True, _finding(stack, error))
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
