"""The verdict of a process of its own: the same as here, remembered, and never a pass for what could not be seen."""

from __future__ import annotations

import os
import shutil
import signal
from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest

from wecityctl.errors import WecityError
from wecityctl.session import Session, open_session
from wecityctl.verdicts import begin
from wecityctl.verdicts.judging import judge_session

ROOT = Path(__file__).parents[2]
CITY = ROOT / "tests" / "policy" / "cases" / "log-retention" / "fail.yaml"
DAY = date(2026, 11, 21)


@pytest.fixture
def session(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Session:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    shutil.copy(CITY, tmp_path / "city.yaml")
    return open_session(tmp_path / "city.yaml")


def test_the_process_says_what_is_said_here_and_the_next_time_none_is_needed(session: Session) -> None:
    first = begin(session, DAY)
    assert first._process is not None
    verdict = first.verdict()
    assert verdict == judge_session(session, DAY)
    assert [item.rule for item in verdict.mandatory] == ["log-retention"]
    assert first._process is None, "it is waited for"
    again = begin(session, DAY)
    assert again._process is None
    assert again.verdict() == verdict


def test_a_changed_city_is_looked_at_anew(session: Session) -> None:
    begin(session, DAY).verdict()
    compliance = replace(session.city.compliance, log_retention_days=365)
    mended = begin(replace(session, city=replace(session.city, compliance=compliance)), DAY)
    assert mended._process is not None
    assert not mended.verdict().mandatory


def test_a_program_that_fails_is_a_finding_which_nothing_lifts(session: Session) -> None:
    kind = replace(session.catalogue["postgresql"], program="partner_gone.program:Database")
    verdict = begin(replace(session, catalogue={**session.catalogue, "postgresql": kind}), DAY).verdict()
    unseen = [item for item in verdict.mandatory if item.rule == "recorded"]
    assert [(item.finding.subject, item.veto) for item in unseen] == [
        ("stack case.platform.application.main", True),
        ("stack case.tenant.health.main", True),
    ]
    assert "partner_gone" in unseen[0].finding.message
    assert "stands on case.platform.application.main" in unseen[1].finding.message
    # The others were looked at all the same.
    assert [item.rule for item in verdict.mandatory if item not in unseen] == ["log-retention"]


def test_a_process_that_dies_lets_nothing_pass(session: Session) -> None:
    pending = begin(session, DAY)
    assert pending._process is not None
    os.kill(pending._process.pid, signal.SIGKILL)
    with pytest.raises(WecityError, match="could not be checked"):
        pending.verdict()
    assert begin(session, DAY)._process is not None, "nothing was remembered"


def test_a_process_that_nobody_waits_for_is_ended(session: Session) -> None:
    pending = begin(session, DAY)
    process = pending._process
    assert process is not None
    pending.close()
    assert process.poll() is not None
