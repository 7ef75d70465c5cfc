"""The digest of what an app says, and the stages of its life."""

from __future__ import annotations

from dataclasses import replace

import pytest

from wecityctl.model.city import App, Component, KubernetesManifest, Route
from wecityctl.model.lifecycle import Action, Lifecycle, Record, Stage, content_digest, faults_of, stage_after

APP = App(
    "code", "health", "draft", "internet", "L1", (Component("web", "registry.example/web:1", ports={"http": 80}),)
)


def test_the_digest_is_that_of_earlier_releases() -> None:
    """A digest that differs makes every recorded review void: new fields have defaults, and those do not count."""
    assert content_digest(APP) == "sha256:03b1b20d8357209b83c63e9ef2464569da67df2464b07370a2d95bc0623a37fe"


def test_the_stage_does_not_count_and_everything_else_does() -> None:
    assert content_digest(replace(APP, stage="published")) == content_digest(APP)
    assert content_digest(replace(APP, channels=())) == content_digest(APP)
    ports = {"b": 1, "a": 2}
    web = APP.components[0]
    changed = [
        replace(APP, data_class="L2"),
        replace(APP, route=Route("code")),
        replace(APP, labels={"tier": "gold"}),
        replace(APP, components=(replace(web, image="registry.example/web:2"),)),
        replace(APP, components=(replace(web, ports=ports),)),
        # The first port is the main one.
        replace(APP, components=(replace(web, ports=dict(reversed(ports.items()))),)),
        replace(APP, components=(replace(web, env={"A": "1"}),)),
    ]
    assert len({content_digest(item) for item in (APP, *changed)}) == len(changed) + 1


def test_another_registry_may_have_other_images_unless_they_are_named_by_digest() -> None:
    fixed = replace(APP, components=(replace(APP.components[0], image=f"registry.example/web@sha256:{'a' * 64}"),))
    assert content_digest(APP, "mirror.example") != content_digest(APP)
    assert content_digest(APP, "mirror.example") != content_digest(APP, "other.example")
    assert content_digest(fixed, "mirror.example") == content_digest(fixed)
    pod = {"kind": "Pod", "metadata": {"name": "x"}, "spec": {"containers": [{"name": "x", "image": "x:1"}]}}
    attached = replace(fixed, manifests=(KubernetesManifest("x.yaml", pod),))
    assert content_digest(attached, "mirror.example") != content_digest(attached)


@pytest.mark.parametrize(
    ("action", "before", "after"),
    [
        ("submit", "draft", "draft"),
        ("submit", "published", "published"),
        ("review", "draft", "reviewed"),
        ("review", "retired", "reviewed"),
        ("review", "published", "published"),
        ("review", "suspended", "suspended"),
        ("reject", "published", "published"),
        ("publish", "reviewed", "published"),
        ("suspend", "published", "suspended"),
        ("resume", "suspended", "published"),
        ("retire", "suspended", "retired"),
    ],
)
def test_a_published_app_serves_while_its_next_version_is_reviewed(action: Action, before: Stage, after: Stage) -> None:
    assert stage_after(action, before) == after


@pytest.mark.parametrize(
    "reviewer", ["EVE@x.example", "eve@X.example.", " eve@x.example ", "\uff45ve@x.example", '"Eve" <eve@x.example>']
)
def test_another_spelling_is_no_other_person(reviewer: str) -> None:
    submitted = Record("submit", "eve@x.example", "2026-01-01T00:00:00Z", "sha256:a", "draft")
    earlier = Lifecycle("code", "health", (submitted,))
    reviewed = Record("review", reviewer, "2026-01-02T00:00:00Z", "sha256:a", "reviewed")
    assert list(faults_of(earlier, "draft", reviewed)) == ["own-review"]
    assert list(faults_of(earlier, "draft", replace(reviewed, by="bob@x.example"))) == []
