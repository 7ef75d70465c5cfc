"""The record of an app's releases, and the city as it is while canaries run."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from tests.stacks.cities import WEB, app, city
from wecityctl.model.city import Autoscale, Canary, Probe, Probes, Strategy, Volume
from wecityctl.model.outputs import CanaryTarget, RouteTarget, TenantOutputs, outputs_from_json, to_json
from wecityctl.model.releases import (
    KEPT,
    AppReleases,
    Held,
    Part,
    Release,
    Rollout,
    fixed,
    from_text,
    to_text,
    version_of,
)
from wecityctl.model.rollouts import Share, canary_part, declared, held_at, with_shares
from wecityctl.model.shares import canary_replicas, demand_of, surge_of

CANARY = replace(WEB, replicas=4, strategy=Strategy("canary", steps=(10, 50)), probes=Probes(Probe("/ready")))
IMAGES = {"sample-app": "registry.example/sample-app:1"}
RELEASE = Release(0, "2026-01-02T03:04:05+00:00", "anna", "sha256:1", (Part(CANARY, "registry.example/web:1"),))


ROLLOUT: dict[str, Any] = json.loads(
    to_text(
        [
            replace(
                AppReleases("health", "code", "web"),
                rollout=Rollout("sha256:2", "registry.example/web:2", CANARY, 1, "pausing", 12.5, "anna"),
            )
        ]
    )
)["apps"][0]["rollout"]


def test_a_record_is_read_as_it_was_written() -> None:
    rollout = Rollout("sha256:2", "registry.example/web:2", CANARY, 1, "pausing", 12.5, "anna", is_live=True)
    held = Held("sha256:3", "registry.example/web:3", "aborted", "not ready", "2026-01-02T03:04:05+00:00")
    record = replace(AppReleases("health", "code", "web").released(RELEASE), rollout=rollout, held=held)
    other = replace(record, app="another", rollout=None, held=None)
    assert from_text(to_text([record, other])) == (other, record)


@pytest.mark.parametrize(
    "change",
    [
        {"releases": {}},
        {"rollout": {"phase": "standing"}},
        {"generation": "1"},
        {"more": 1},
        {"app": {"a": 1}},
        {"rollout": {**ROLLOUT, "step": -5}},
        {"rollout": {**ROLLOUT, "since": 1e300}},
        {"rollout": {**ROLLOUT, "component": {**ROLLOUT["component"], "env": [["A"]]}}},
    ],
)
def test_what_another_version_wrote_is_not_understood_in_part(change: dict[str, object]) -> None:
    (whole,) = json.loads(to_text([AppReleases("health", "code", "web").released(RELEASE)]))["apps"]
    with pytest.raises(ValueError, match=r"is|of|unknown|missing|cannot"):
        from_text(json.dumps({"format": 1, "apps": [whole | change]}))
    for text in ('{"format": 2, "apps": []}', '{"format": 1, "apps": {}}', "[]"):
        with pytest.raises(ValueError, match="another version"):
            from_text(text)


def test_the_last_releases_are_kept_and_numbered() -> None:
    record = AppReleases("health", "code", "web")
    for _ in range(KEPT + 2):
        record = record.released(RELEASE)
    assert [item.number for item in record.releases] == list(range(3, KEPT + 3))


def test_a_version_is_what_the_pods_are_made_of() -> None:
    first = version_of(CANARY, IMAGES)
    more = replace(CANARY, replicas=9, strategy=Strategy("canary", steps=(5,)), autoscale=Autoscale(1, 9, 50))
    assert version_of(more, IMAGES) == first
    assert version_of(fixed(CANARY, IMAGES), {}) == first, "it is compared by what its name stood for"
    assert version_of(CANARY, {"sample-app": "registry.example/sample-app:2"}) != first
    assert version_of(replace(CANARY, env={"A": "B"}), IMAGES) != first
    small, large = (replace(CANARY, volumes=(Volume("data", "/data", size),)) for size in ("1Gi", "2Gi"))
    assert version_of(small, IMAGES) == version_of(large, IMAGES), "no pod is another one when a volume grows"
    assert held_at(small, large).volumes == large.volumes


def test_the_city_has_the_old_release_and_the_canary_beside_it() -> None:
    files = city(app("code", components=(CANARY, replace(WEB, name="api", ports={}))))
    old = replace(CANARY, image="registry.example/web:1", replicas=1, strategy=None)
    changed = with_shares(files, {("health", "code"): (Share("web", old, CANARY, 50),)})
    (found,) = changed.apps
    assert [part.name for part in found.components] == ["web", "api", "web-canary"]
    web, _, canary = found.components
    assert (web.image, web.replicas, web.strategy) == (old.image, 4, CANARY.strategy)
    assert (canary.canary, canary.replicas, canary.image) == (Canary("web", 50), 2, CANARY.image)
    assert (found.web_component, found.canary) == (web, canary)
    assert canary_part(found) == web
    assert declared(found) == files.apps[0]
    assert with_shares(files, {}) is files


def test_outputs_have_a_canary_only_while_there_is_one() -> None:
    route = RouteTarget("health", "code", "code.xc.example", "/", "health-internet", "code-web", 8080)
    plain = TenantOutputs("health", "main", ("health-internet",), (route,))
    assert "canary" not in to_json(plain)["routes"][0]
    running = replace(plain, routes=(replace(route, canary=CanaryTarget("code-web-canary", 8080, 10)),))
    for outputs in (plain, running):
        assert outputs_from_json("tenant", json.loads(json.dumps(to_json(outputs)))) == outputs


def test_the_quota_has_room_for_the_largest_step_and_an_update() -> None:
    (found,) = city(app("code", components=(CANARY,))).apps
    assert [canary_replicas(CANARY, weight) for weight in (1, 25, 26, 99)] == [1, 1, 2, 4]
    one = demand_of(replace(found, components=(replace(CANARY, replicas=1),)))
    assert surge_of(found).memory == 2 * one.memory
    whole = replace(found, components=(replace(CANARY, strategy=Strategy("canary", 1, 0, (50,))),))
    assert surge_of(whole).memory == 3 * one.memory
    running = with_shares(city(found), {("health", "code"): (Share("web", None, CANARY, 50),)}).apps[0]
    assert demand_of(running) == demand_of(found), "it is counted before it begins"
