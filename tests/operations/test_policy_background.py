"""The policy report of a process of its own: the same as here, remembered, and never a pass for what could not be
seen."""

from __future__ import annotations

import os
import shutil
import signal
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest

from tests.support.processes import children, command, left_of
from wecityctl.engine.context.options import DEFAULT_PROGRAM
from wecityctl.engine.workers.engine import Engine
from wecityctl.errors import WecityError
from wecityctl.listeners.guard import lacking
from wecityctl.local.proctable import Identity
from wecityctl.model.city import Administrators
from wecityctl.operations.policy_evaluation import begin
from wecityctl.operations.policy_evaluation.evaluate import judge_session
from wecityctl.session import Session, open_session

# Its processes are found below this one.
pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("anew")]

ROOT = Path(__file__).parents[2]
CITY = ROOT / "tests" / "policy" / "cases" / "three-administrators" / "fail-two-offices.yaml"
DAY = date(2026, 11, 21)


@pytest.fixture
def engine() -> Iterator[Engine]:
    with Engine(DEFAULT_PROGRAM) as opened:
        yield opened


@pytest.fixture
def session(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Session:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    shutil.copy(CITY, tmp_path / "city.yaml")
    return open_session(tmp_path / "city.yaml")


def test_the_process_says_what_is_said_here_and_the_next_time_none_is_needed(session: Session, engine: Engine) -> None:
    first = begin(session, DAY, engine)
    assert first._connection is not None
    policy_report = first.policy_report()
    assert policy_report == judge_session(session, DAY)
    assert [item.rule for item in policy_report.mandatory] == ["three-administrators"]
    assert first._connection is None
    again = begin(session, DAY, engine)
    assert again._connection is None, "no process was asked"
    assert again.policy_report() == policy_report


def test_a_changed_city_is_looked_at_anew(session: Session, engine: Engine) -> None:
    begin(session, DAY, engine).policy_report()
    compliance = replace(session.city.compliance, administrators=Administrators(("a@x",), ("b@x",), ("c@x",)))
    mended = begin(replace(session, city=replace(session.city, compliance=compliance)), DAY, engine)
    assert mended._connection is not None
    assert not mended.policy_report().mandatory


def test_a_program_that_fails_is_a_finding_which_nothing_lifts(session: Session, engine: Engine) -> None:
    kind = replace(session.catalogue["postgresql"], program="partner_gone.program:Database")
    policy_report = begin(
        replace(session, catalogue={**session.catalogue, "postgresql": kind}), DAY, engine
    ).policy_report()
    unseen = [item for item in policy_report.mandatory if item.rule == "recorded"]
    assert [(item.finding.subject, item.veto) for item in unseen] == [
        ("stack case.platform.application.main", True),
        ("stack case.tenant.health.main", True),
    ]
    assert "partner_gone" in unseen[0].finding.message
    assert "depends on case.platform.application.main" in unseen[1].finding.message
    # The others were looked at all the same.
    assert [item.rule for item in policy_report.mandatory if item not in unseen] == ["three-administrators"]


def test_a_process_that_dies_lets_nothing_pass(session: Session, engine: Engine) -> None:
    pending = begin(session, DAY, engine)
    *_, judge = _processes()
    assert judge.send(signal.SIGKILL)
    with pytest.raises(WecityError, match="could not be checked"):
        pending.policy_report()
    assert begin(session, DAY, engine)._connection is not None, "nothing was remembered"


def test_a_process_that_nobody_waits_for_ends_with_its_engine(session: Session) -> None:
    with Engine(DEFAULT_PROGRAM) as engine:
        begin(session, DAY, engine).close()
        processes = _processes()
    assert left_of(processes) == []


def _processes() -> list[Identity]:
    """What judges, and all that is above it: the guard of its connections, where there can be one, and the zygote."""
    found = [_only_child(os.getpid(), "wecityctl.engine.workers.zygote")]
    for _ in range(1 if lacking() else 2):
        found.append(_only_child(found[-1].pid))
    return found


def _only_child(parent: int, program: str = "") -> Identity:
    """The process that `parent` has started, once there is one; `program` is in its command line."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        found = [each for each in children(parent) if program in command(each)]
        if found:
            return found[-1]
        time.sleep(0.02)
    raise AssertionError(f"process {parent} has started nothing")
