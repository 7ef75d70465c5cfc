"""Releases of apps without a canary: what is recorded of them, and how one is brought back and stays."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tests.operations.test_rollout_commands import CANARY, backend, record_of, session_of
from tests.stacks.cities import WEB, app
from wecityctl.engine.state import releases
from wecityctl.engine.state.backend import Backend
from wecityctl.errors import ConfigurationError
from wecityctl.model.city import App, Route, Volume
from wecityctl.model.releases import AppReleases, Held
from wecityctl.model.rollouts import with_shares
from wecityctl.operations.rollouts.commands import decide, rollout_state
from wecityctl.operations.rollouts.moves import Now, held_now, next_move, said_version
from wecityctl.operations.rollouts.planning import open_current, planned_moves, shares_of
from wecityctl.operations.rollouts.recording import released
from wecityctl.operations.status.rollouts import rollout_statuses

__all__ = ["backend"]
IMAGES = {"sample-app": "registry.example/sample-app:1"}
NOW = Now(1.0, "2026-01-02T03:04:05+00:00", "anna")
DIGESTS = {"web": "sha256:d"}


def version(number: int, **changes: object) -> App:
    """An app of two components and a migration."""
    web = replace(WEB, env={"VERSION": str(number)}, **changes)  # type: ignore[arg-type]
    worker = replace(WEB, name="worker", ports={}, health_path="", image=f"registry.example/worker:{number}")
    migrate = replace(worker, name="migrate", run="before-release")
    return app("code", components=(web, worker, migrate))


def recorded(found: App, record: AppReleases | None, *, canary: str = "") -> AppReleases:
    new = released(found, record, IMAGES, NOW, DIGESTS, canary=canary)
    assert new is not None
    return new


def test_a_release_has_all_components_but_migrations() -> None:
    record = recorded(version(1), None)
    assert record.current is not None
    assert [(part.component.name, part.image, part.image_digest) for part in record.current.parts] == [
        ("web", "registry.example/sample-app:1", "sha256:d"),
        ("worker", "registry.example/worker:1", ""),
    ]
    assert released(version(1, replicas=7), record, IMAGES, NOW, DIGESTS) is None, "pods are made of the same"
    second = recorded(version(2), record)
    assert [item.number for item in second.releases] == [1, 2]
    assert released(app("code", components=()), None, IMAGES, NOW, {}) is None


def test_a_change_of_the_strategy_alone_is_no_new_release(backend: Backend, tmp_path: Path) -> None:
    record = record_of(tmp_path, 1)
    session = session_of(tmp_path, 1, "")
    (found,) = session.said.apps
    same = released(found, record, session.images, NOW, DIGESTS, canary="web")
    assert same is not None
    assert [(item.number, item.parts[0].image_digest) for item in same.releases] == [(1, "sha256:d")]
    assert (same.component, same.current and same.current.at) == ("", record.releases[0].at)
    (move,) = planned_moves(session_of(tmp_path, 1), backend, "up", records={("health", "code"): same})
    assert move.first is not None
    assert [(item.number, len(item.parts)) for item in move.first.releases] == [(1, 1)]
    session = session_of(tmp_path, 2, "")
    other = released(session.said.apps[0], record, session.images, NOW, {}, canary="web")
    assert other is not None
    assert [item.number for item in other.releases] == [1, 2]


def rolling(directory: Path, *versions: int) -> AppReleases:
    record: AppReleases | None = None
    for number in versions:
        session = session_of(directory, number, "")
        record = released(session.said.apps[0], record, session.images, NOW, DIGESTS)
    assert record is not None
    return record


def test_the_release_before_comes_back_and_stays_until_the_files_change(backend: Backend, tmp_path: Path) -> None:
    written = releases.write(backend, rolling(tmp_path, 1, 2))
    session = session_of(tmp_path, 2, "")
    assert planned_moves(session, backend, "up", records={("health", "code"): written}) == ()
    change = decide(session, "code", "undo")
    assert change.text == "health/code: release 1 (registry.example/web:1) is brought back"
    after = releases.write(backend, change.after)
    assert after.current is not None
    assert (after.current.number, after.current.of, after.current.parts[0].image_digest) == (3, 1, "sha256:d")
    for operation in ("up", "preview", "refresh", "destroy"):
        (move,) = planned_moves(session, backend, operation)
        (part,) = with_shares(session.city, shares_of([move])).apps[0].components
        assert part.image == "registry.example/web:1"
        assert not move.acts
    (told,) = rollout_statuses(session, backend)
    assert str(told) == "health/code: undone: registry.example/web:2; release 3 serves: release 1 was brought back"
    (preview,) = planned_moves(session, backend, "preview")
    assert preview.text == "health/code: registry.example/web:2 stays undone, release 3 serves"
    assert open_current(session.path).city.apps[0].components[0].image == "registry.example/web:1"
    assert released(session.said.apps[0], after, session.images, NOW, DIGESTS) is None, "it was not released"
    assert decide(session, "code", "retry").after == replace(after, held=None)
    twice = decide(session, "code", "undo").after
    assert (twice.current and twice.current.of, twice.held) == (2, None)
    changed = session_of(tmp_path, 3, "")
    assert planned_moves(changed, backend, "up") == ()
    assert rollout_state(changed, "code").is_behind
    third = released(changed.said.apps[0], after, changed.images, NOW, DIGESTS)
    assert third is not None
    assert ([item.number for item in third.releases], third.held) == ([1, 2, 3, 4], None)


def test_a_record_that_is_written_again_keeps_all_its_releases(backend: Backend, tmp_path: Path) -> None:
    written = releases.write(backend, rolling(tmp_path, 1, 2, 3))
    (first,) = planned_moves(session_of(tmp_path, 4), backend, "up")
    assert first.first is not None
    assert [item.number for item in first.first.releases] == [1, 2, 3, 4]
    current = written.releases[-1]
    stale = Held(version_of_files(tmp_path, 4), "i", "undone", "", NOW.at)
    lacking = replace(current, parts=(replace(current.parts[0], component=replace(WEB, name="other")),))
    releases.write(backend, replace(written, releases=(*written.releases[:-1], lacking), held=stale))
    (move,) = planned_moves(session_of(tmp_path, 4, ""), backend, "up")
    assert move.claimed is not None
    assert ([item.number for item in move.claimed.releases], move.claimed.held) == ([1, 2, 3], None)


def version_of_files(directory: Path, number: int) -> str:
    session = session_of(directory, number, "")
    return said_version(session.said.apps[0], session.images)


def test_a_version_that_failed_is_undone_to_the_last_release(backend: Backend, tmp_path: Path) -> None:
    record = releases.write(backend, rolling(tmp_path, 1, 2))
    session = session_of(tmp_path, 3, "")
    after = decide(session, "code", "undo").after
    assert after.releases == record.releases, "release 2 serves again, and gets no new number"
    assert after.held is not None
    assert after.held.image == "registry.example/web:3"
    assert decide(session, "code", "undo", to=2).after.releases == record.releases
    with pytest.raises(ConfigurationError, match="no release 2"):
        decide(session_of(tmp_path, 2, ""), "code", "undo", to=2)
    with pytest.raises(ConfigurationError, match="no rollout"):
        decide(session, "code", "promote")
    with pytest.raises(ConfigurationError, match="strategy of health/code has changed"):
        decide(session_of(tmp_path, 3, CANARY), "code", "undo")


def test_what_does_not_fit_the_files_is_not_brought_back() -> None:
    first = recorded(version(1), None)
    two = recorded(version(2), first)
    held = replace(decide_of(two), generation=0)
    assert [share.component for share in held_now(version(2), held, IMAGES)] == ["web", "worker"]
    assert held_now(version(3), held, IMAGES) == ()
    grown = version(2, volumes=(Volume("data", "/data", "1Gi"),))
    assert held_now(grown, held, IMAGES) == ()
    # The route is no part of the version, and leads to a port that is new.
    routed = replace(version(2, ports={"http": 8080, "api": 9090}), route=Route("code", port="api"))
    undone = decide_of(recorded(routed, first))
    move = next_move(routed, undone, IMAGES, NOW)
    assert move is not None
    assert (move.shares, move.claimed) == ((), replace(undone, held=None))
    assert "is released again: release 3: the route leads to a port that it does not have" in move.text


def decide_of(record: AppReleases) -> AppReleases:
    """The record with its last release undone."""
    assert record.current is not None
    back = replace(record.releases[0], of=1)
    held = Held(record.current.version, record.current.images, "undone", "", NOW.at)
    return replace(record.released(back), held=held)
