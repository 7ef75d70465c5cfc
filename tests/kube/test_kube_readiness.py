"""The rules of readiness, case by case from files, and what annotations ask for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from wecityctl.errors import ConfigurationError
from wecityctl.kube.readiness import Related, assess, jsonpath, wait_plan
from wecityctl.kube.readiness.annotations import all_met, parse_wish
from wecityctl.kube.readiness.wait import why_held

CASES = [
    pytest.param(case, id=f"{path.stem}: {case['name']}")
    for path in sorted(Path(__file__).with_name("readiness").glob("*.yaml"))
    for case in yaml.safe_load(path.read_text())
]


@pytest.mark.parametrize("case", CASES)
def test_case(case: dict[str, Any]) -> None:
    given = dict(case.get("related") or {})
    if "backends" in given:
        given["backends"] = frozenset(given["backends"])
    readiness = assess(case["object"], Related(**given))
    assert (readiness.state, readiness.reason) == (case["state"], case.get("reason", ""))


def test_there_are_cases() -> None:
    assert len(CASES) > 70


STATUS = {
    "metadata": {"generation": 2, "labels": {"a.b/c": "x"}},
    "status": {
        "phase": "Running",
        "ready": True,
        "n": 3,
        "ingress": [{"ip": "1.2.3.4"}, {"ip": "5.6.7.8"}],
        "conditions": [{"type": "Ready", "status": "True"}, {"type": "Old", "status": "True", "observedGeneration": 1}],
    },
}


@pytest.mark.parametrize(
    ("expression", "found"),
    [
        ("{.status.phase}", ["Running"]),
        (".status.phase", ["Running"]),
        ("status.phase", ["Running"]),
        ("{$.status.phase}", ["Running"]),
        ("{.status.ingress[0].ip}", ["1.2.3.4"]),
        ("{.status.ingress[-1].ip}", ["5.6.7.8"]),
        ("{.status.ingress[*].ip}", ["1.2.3.4", "5.6.7.8"]),
        ("{.status['phase']}", ["Running"]),
        (r"{.metadata.labels.a\.b/c}", ["x"]),
        ('{.status.conditions[?(@.type=="Ready")].status}', ["True"]),
        ("{.status.conditions[?(@.type=='None')].status}", []),
        ("{.status.none[0].ip}", []),
        ("{.status.ingress[7].ip}", []),
    ],
)
def test_json_path(expression: str, found: list[Any]) -> None:
    assert jsonpath.find(jsonpath.parse(expression), STATUS) == found


@pytest.mark.parametrize("expression", ["", "{}", "{.a[}", "{..a}", "{.a[?(@.x>1)]}"])
def test_bad_json_path(expression: str) -> None:
    with pytest.raises(ConfigurationError):
        jsonpath.parse(expression)


@pytest.mark.parametrize(
    ("wish", "reason"),
    [
        ("condition=Ready", ""),
        ("condition=Ready=False", "waiting for condition=Ready=False, it is True"),
        ("condition=Available", "waiting for condition=Available, it is not there"),
        ("condition=Old", "waiting for condition=Old, its controller has not looked at it yet"),
        ("jsonpath={.status.phase}=Running", ""),
        ("jsonpath={.status.phase}", ""),
        ("jsonpath={.status.none}", "waiting for jsonpath={.status.none}"),
        ("jsonpath={.status.ready}=true", ""),
        ("jsonpath={.status.n}=3", ""),
        ("jsonpath='{.status.phase}'=Running", None),
        ("jsonpath={.status.phase}=Done", "waiting for jsonpath={.status.phase}=Done, it is Running"),
        ('jsonpath={.status.conditions[?(@.type=="Ready")].status}=True', ""),
        ("ready", None),
        ("condition=", None),
    ],
)
def test_wishes(wish: str, reason: str | None) -> None:
    if reason is None:
        with pytest.raises(ConfigurationError, match="cannot be read"):
            parse_wish(wish)
        return
    assert parse_wish(wish).met(STATUS).reason == reason


def annotated(**annotations: str) -> dict[str, Any]:
    return {
        "kind": "Thing",
        "metadata": {"name": "t", "annotations": {f"pulumi.com/{k}": v for k, v in annotations.items()}},
    }


def test_plan() -> None:
    plan = wait_plan({"metadata": {"name": "a"}}, default_timeout=300)
    assert (plan.skip, plan.timeout, plan.wait_for) == (False, 300, ())
    assert wait_plan(annotated(skipAwait="true")).skip
    assert not wait_plan(annotated(skipAwait="false")).skip
    assert wait_plan(annotated(timeoutSeconds="20")).timeout == 20
    plan = wait_plan(annotated(waitFor='["condition=Ready", "jsonpath={.status.phase}=Done"]'))
    assert [w.text for w in plan.wait_for] == ["condition=Ready", "jsonpath={.status.phase}=Done"]
    assert all_met(plan.wait_for, STATUS).reason == "waiting for jsonpath={.status.phase}=Done, it is Running"


@pytest.mark.parametrize(
    "annotations",
    [{"timeoutSeconds": "soon"}, {"timeoutSeconds": "0"}, {"waitFor": "[1]"}, {"waitFor": "[x"}, {"waitFor": "x"}],
)
def test_bad_plan(annotations: dict[str, str]) -> None:
    with pytest.raises(ConfigurationError):
        wait_plan(annotated(**annotations))


def test_a_namespace_that_an_extension_holds_says_so() -> None:
    """An aggregated API whose server is down: nothing is left in the namespace, and it stays."""
    message = "Discovery failed for some groups, 1 failing: projectcalico.org/v3: stale GroupVersion discovery"
    failing = {"type": "NamespaceDeletionDiscoveryFailure", "status": "True", "reason": "DiscoveryFailed"}
    others = {"type": "NamespaceContentRemaining", "status": "False", "reason": "ContentRemoved"}
    namespace = {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {"name": "shop", "deletionTimestamp": "2026-11-26T12:00:00Z"},
        "spec": {"finalizers": ["kubernetes"]},
        "status": {"phase": "Terminating", "conditions": [{**failing, "message": message}, others]},
    }
    assert message in why_held(namespace)
    assert why_held({**namespace, "status": {}}) == "its contents are being deleted"
