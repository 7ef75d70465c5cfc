"""The gate in front of a run: what stops it, what it tells, and what it leaves to the run itself."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from wecityctl.engine.context.options import DEFAULT_PROGRAM
from wecityctl.engine.workers.engine import Engine
from wecityctl.errors import PolicyError
from wecityctl.model.events import Diagnostic, Event, RunResult
from wecityctl.operations.policy import check_policies
from wecityctl.operations.policy_gate import PolicyGate
from wecityctl.session import Session, open_session

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
CASES = ROOT / "tests" / "policy" / "cases"
# A type whose program refuses the files, as a landing zone does whose SDK is missing.
REFUSING = "tests.cli.refusing:Refusing"
RESULT = RunResult("preview", "case", (), 0.1, 0)


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))


def session(case: str) -> Session:
    return open_session(CASES / case)


def hold(gate: PolicyGate) -> list[tuple[str, str]]:
    """What the gate tells, as (severity, message)."""
    told: list[Event] = []
    with Engine(DEFAULT_PROGRAM) as engine, closing(gate):
        gate.begin(engine)
        gate.hold(told.append)
        gate.hold(told.append)
    return [(event.severity, event.message) for event in told if isinstance(event, Diagnostic)]


def test_advice_is_told_once_and_not_after_a_preview_that_told_it() -> None:
    city = session("unused-capability/fail.yaml")
    told = hold(PolicyGate(city, "up"))
    assert len([text for kind, text in told if kind == "warning" and ": unused-capability: " in text]) == 2
    assert hold(PolicyGate(city, "up", told=True)) == []


def test_mandatory_findings_stop_up_and_are_shown_by_preview() -> None:
    city = session("through-exchange/fail.yaml")
    with pytest.raises(PolicyError, match="nothing was done") as caught:
        hold(PolicyGate(city, "up"))
    assert "through-exchange (veto)" in caught.value.details
    gate = PolicyGate(city, "preview")
    assert [text for kind, text in hold(gate) if kind == "error"] == caught.value.details.splitlines()
    assert gate.in_result(RESULT).exit_code == 5
    assert gate.in_result(replace(RESULT, exit_code=4)).exit_code == 4


@pytest.mark.parametrize("operation", ["destroy", "refresh"])
def test_taking_down_and_looking_need_no_leave(operation: str) -> None:
    gate = PolicyGate(session("through-exchange/fail.yaml"), operation)  # type: ignore[arg-type]
    assert hold(gate) == []
    assert gate.in_result(RESULT) == RESULT


def test_a_stack_that_refuses_the_files_is_left_to_fail_by_itself() -> None:
    city = session("through-exchange/pass.yaml")
    kind = replace(city.catalogue["postgresql"], program=REFUSING)
    city = replace(city, catalogue={**city.catalogue, "postgresql": kind})
    gate = PolicyGate(city, "up")
    assert "error" not in {kind for kind, _ in hold(gate)}
    assert gate.in_result(RESULT).exit_code == 0
    # With --keep-going what depends on it is run, and nobody has seen what that makes.
    with pytest.raises(PolicyError, match="2 places"):
        hold(PolicyGate(city, "up", keep_going=True))


def test_what_keeps_stacks_from_being_looked_at_is_one_error_of_a_check() -> None:
    city = session("through-exchange/pass.yaml")
    kind = replace(city.catalogue["postgresql"], program=REFUSING)
    policy_report, error = check_policies(replace(city, catalogue={**city.catalogue, "postgresql": kind}))
    assert not policy_report.mandatory
    assert error is not None
    assert error.exit_code == 2
    assert error.details.startswith("so no rule can look at 2 stacks: case.platform.application.main, case.tenant.")
    # A program that is broken is a finding, which nothing lifts.
    kind = replace(kind, program="tests.cli.refusing:Broken")
    policy_report, error = check_policies(replace(city, catalogue={**city.catalogue, "postgresql": kind}))
    assert error is None
    assert {item.rule for item in policy_report.mandatory} == {"recorded"}


def test_a_program_that_fails_otherwise_stops_up() -> None:
    city = session("through-exchange/pass.yaml")
    kind = replace(city.catalogue["postgresql"], program="tests.cli.refusing:Broken")
    with pytest.raises(PolicyError, match="1 place;"):
        hold(PolicyGate(replace(city, catalogue={**city.catalogue, "postgresql": kind}), "up"))
