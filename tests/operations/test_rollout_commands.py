"""What people may ask of a rollout, and what each answer changes in the record; nothing runs here."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import pytest

from wecityctl.engine.state import releases
from wecityctl.engine.state.backend import Backend, open_backend
from wecityctl.errors import ConfigurationError, NoSuchStackError
from wecityctl.model.releases import AppReleases, Held, Part, Release, Rollout, fixed, version_of
from wecityctl.model.rollouts import canary_part
from wecityctl.operations.rollouts.commands import RolloutAction, decide, rollout_state
from wecityctl.operations.rollouts.judging import is_judged, judgement_of
from wecityctl.operations.rollouts.planning import open_current, planned_moves, restart_pauses
from wecityctl.operations.status.rollouts import rollout_statuses
from wecityctl.session import Session, open_session

FILES = """
apiVersion: wecity.dev/v1alpha1
kind: City
metadata: {{name: rolled}}
spec:
  domain: rolled.example
  zones: [{{name: internet, kind: internet}}]
---
apiVersion: wecity.dev/v1alpha1
kind: Cloud
metadata: {{name: main}}
spec: {{provider: local, zones: [internet], local: {{nodes: simulated}}}}
---
apiVersion: wecity.dev/v1alpha1
kind: Platform
metadata: {{name: application}}
spec: {{capabilities: [{{name: gateway}}]}}
---
apiVersion: wecity.dev/v1alpha1
kind: Tenant
metadata: {{name: health}}
spec: {{title: Health, area: city-governance, quota: {{cpu: "1", memory: 1Gi, storage: 1Gi}}}}
---
apiVersion: wecity.dev/v1alpha1
kind: App
metadata: {{name: code, tenant: health}}
spec:
  stage: published
  zone: internet
  dataClass: L1
  components:
    - name: web
      image: registry.example/web:{version}
      port: 8080
      {strategy}
  route: {{host: code}}
"""
CANARY = "strategy: {type: canary, steps: [10, 50]}"


def session_of(directory: Path, version: int, strategy: str = CANARY) -> Session:
    path = directory / "city.yaml"
    path.write_text(FILES.format(version=version, strategy=strategy))
    return open_session(path)


@pytest.fixture
def backend(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Backend:
    monkeypatch.setenv("PULUMI_CONFIG_PASSPHRASE", "test")
    return open_backend(session_of(tmp_path, 1).city)


def release(directory: Path, version: int) -> Release:
    session = session_of(directory, version)
    part = canary_part(session.said.apps[0])
    assert part is not None
    image = f"registry.example/web:{version}"
    stated = Part(fixed(part, session.images), image)
    return Release(0, "2026-01-02T03:04:05+00:00", "anna", version_of(part, session.images), (stated,))


def record_of(directory: Path, *versions: int, rolling: int = 0) -> AppReleases:
    """A record with these releases, and with the first step of `rolling` under way."""
    record = AppReleases("health", "code", "web")
    for version in versions:
        record = record.released(release(directory, version))
    if rolling:
        new = release(directory, rolling)
        rollout = Rollout(new.version, new.images, new.parts[0].component, 1, "pausing", 1.0, "anna", is_live=True)
        record = replace(record, rollout=rollout)
    return record


def test_a_rollout_is_promoted_or_taken_back(backend: Backend, tmp_path: Path) -> None:
    releases.write(backend, record_of(tmp_path, 1, rolling=2))
    session = session_of(tmp_path, 2)
    state = rollout_state(session, "code")
    assert (state.weight, state.steps, state.record.current and state.record.current.number) == (10, (10, 50), 1)
    (told,) = rollout_statuses(session, backend)
    assert str(told) == (
        "health/code: canary at step 1 of 2, pausing: registry.example/web:2 with 10 % of the requests; "
        "release 1 serves the rest"
    )
    promoted = decide(session, "health/code", "promote").after.rollout
    assert promoted is not None
    assert (promoted.phase, promoted.outcome) == ("finishing", "released")
    change = decide(session, "code", "abort")
    aborted = change.after.rollout
    assert aborted is not None
    assert (aborted.phase, aborted.outcome) == ("withdrawing", "aborted")
    assert change.text == "health/code: registry.example/web:2 is taken back, release 1 gets all requests"
    assert releases.read(backend, "health", "code") == change.before, "nothing is written yet"
    for action in ("undo", "retry"):
        with pytest.raises(ConfigurationError, match="under way"):
            decide(session, "code", action)  # type: ignore[arg-type]
    releases.write(backend, change.after if change.after.generation else change.before)
    for action in ("promote", "abort"):
        with pytest.raises(ConfigurationError, match="ends already"):
            decide(session, "code", action)  # type: ignore[arg-type]


def test_the_release_before_is_brought_back_and_the_files_wait(backend: Backend, tmp_path: Path) -> None:
    releases.write(backend, record_of(tmp_path, 1, 2))
    session = session_of(tmp_path, 2)
    after = decide(session, "code", "undo").after
    assert after.current is not None
    assert (after.current.number, after.current.of, after.current.images) == (3, 1, "registry.example/web:1")
    assert after.held is not None
    assert (after.held.because, after.held.image) == ("undone", "registry.example/web:2")
    written = releases.write(backend, after)
    (move,) = planned_moves(session, backend, "up")
    assert move.kind == "hold"
    assert move.share is not None
    assert move.share.stable is not None
    assert move.share.stable.image == "registry.example/web:1"
    assert open_current(session.path).city.apps[0].components[0].image == "registry.example/web:1"
    # Twice undone is back where it was, not one further.
    again = decide(session, "code", "undo").after
    assert again.current is not None
    assert (again.current.of, again.held) == (2, None)
    same = decide(session, "code", "undo", to=2).after.current
    assert same is not None
    assert replace(same, at=again.current.at) == again.current
    assert decide(session, "code", "retry").after == replace(written, held=None)
    with pytest.raises(ConfigurationError, match="no release 7"):
        decide(session, "code", "undo", to=7)


@pytest.mark.parametrize("action", ["promote", "abort", "undo", "retry"])
def test_there_may_be_nothing_to_do_it_with(backend: Backend, tmp_path: Path, action: RolloutAction) -> None:
    session = session_of(tmp_path, 1)
    with pytest.raises(NoSuchStackError, match="not released yet"):
        decide(session, "code", action)
    with pytest.raises(NoSuchStackError, match="not released yet"):
        decide(session_of(tmp_path, 1, ""), "code", action)
    releases.write(backend, record_of(tmp_path, 1))
    with pytest.raises(ConfigurationError):
        decide(session, "code", action)


def test_what_is_held_back_is_told(backend: Backend, tmp_path: Path) -> None:
    new = release(tmp_path, 2)
    held = Held(new.version, new.images, "aborted", "not ready", "2026-01-02T03:04:05+00:00")
    releases.write(backend, replace(record_of(tmp_path, 1), held=held))
    (told,) = rollout_statuses(session_of(tmp_path, 2), backend)
    assert str(told) == "health/code: aborted: registry.example/web:2; release 1 serves: not ready"
    assert rollout_statuses(session_of(tmp_path, 1), backend) == ()


def test_a_clock_that_was_set_back_prolongs_a_pause_by_itself_at_most(backend: Backend, tmp_path: Path) -> None:
    record = record_of(tmp_path, 1, rolling=2)
    assert record.rollout is not None
    jumped = replace(record, rollout=replace(record.rollout, since=time.time() + 86400))
    releases.write(backend, jumped)
    session = session_of(tmp_path, 2)
    moves = planned_moves(session, backend, "up")
    assert (moves[0].kind, moves[0].due > time.time() + 86400) == ("wait", True)
    assert restart_pauses(backend, moves)
    (move,) = moves = planned_moves(session, backend, "up")
    assert move.due <= time.time() + 60
    assert not restart_pauses(backend, moves)


OPERATIONS = """---
apiVersion: wecity.dev/v1alpha1
kind: Platform
metadata: {name: operations}
spec: {capabilities: [{name: metrics}]}
"""


@pytest.mark.parametrize(
    ("platform", "limit", "kind"),
    [
        # Nobody can be asked: that is not taken for good.
        (OPERATIONS, "", "unknown"),
        (OPERATIONS, ", abortAbove: {errorRate: 1}", "unknown"),
        (OPERATIONS, ", abortAbove: {errorRate: 100}", ""),
        ("", "", ""),
    ],
)
def test_a_step_is_judged_where_somebody_counts_requests(
    backend: Backend, tmp_path: Path, platform: str, limit: str, kind: str
) -> None:
    releases.write(backend, record_of(tmp_path, 1, rolling=2))
    strategy, path = CANARY.replace("50]", f"50]{limit}"), tmp_path / "city.yaml"
    path.write_text(FILES.format(version=2, strategy=strategy) + platform)
    session = open_session(path)
    (move,) = planned_moves(session, backend, "up")
    assert move.kind == "step" and is_judged(move)
    found = judgement_of(session, {}, session.said.apps[0], move)
    assert (found.kind if found is not None else "") == kind


def test_a_canary_that_was_promoted_or_is_replaced_is_not_judged(backend: Backend, tmp_path: Path) -> None:
    releases.write(backend, record_of(tmp_path, 1, rolling=2))
    session = session_of(tmp_path, 2)
    releases.write(backend, decide(session, "code", "promote").after)
    (move,) = planned_moves(session, backend, "up")
    assert (move.kind, is_judged(move)) == ("finish", False)
    releases.write(
        backend, replace(record_of(tmp_path, 1, rolling=2), generation=move.record.generation if move.record else 0)
    )
    (move,) = planned_moves(session_of(tmp_path, 3), backend, "up")
    assert (move.kind, is_judged(move)) == ("step", False)
