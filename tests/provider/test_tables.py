"""Provider settings, drift and ownership: case tables in files."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest

from tests.provider.cases_support import cases
from wecityctl.kube.openapi import Schema
from wecityctl.provider.drift import refreshed_inputs
from wecityctl.provider.ignoring import as_live
from wecityctl.provider.ownership import imported_inputs
from wecityctl.provider.paths import parse
from wecityctl.provider.properties import UNKNOWN_STRING, Secret, Unknown
from wecityctl.provider.settings import check_settings, diff_settings, read_settings


def _kubeconfig(*servers: str, token: str = "t") -> str:
    return json.dumps(
        {
            "clusters": [{"name": s, "cluster": {"server": f"https://{s}"}} for s in servers],
            "contexts": [{"name": s, "context": {"cluster": s, "user": "u"}} for s in servers],
            "users": [{"name": "u", "user": {"token": token}}],
            "current-context": servers[0],
        }
    )


KUBECONFIGS = {
    "k1": _kubeconfig("one"),
    "k1b": _kubeconfig("one", token="other"),
    "k2": _kubeconfig("two"),
    "both": _kubeconfig("one", "two"),
}


def _inputs(case: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {k: Unknown() if v == UNKNOWN_STRING else v for k, v in case.items()}
    config = found.get("kubeconfig")
    return {**found, "kubeconfig": KUBECONFIGS[config] if isinstance(config, str) else config}


@pytest.mark.parametrize("case", cases("settings"))
def test_settings_diff(case: dict[str, Any]) -> None:
    found = diff_settings(_inputs(case["old"]), _inputs(case["new"]), {})
    assert list(found.changed) == case["changed"]
    assert list(found.replaces) == case["replaces"]


def test_settings_come_from_args_then_variables_then_the_environment() -> None:
    environ = {"PULUMI_K8S_ENABLE_SECRET_MUTABLE": "true", "PULUMI_K8S_DELETE_UNREACHABLE": "true"}
    found = read_settings(
        {"kubeconfig": Secret("hidden"), "deleteUnreachable": "false"},
        {"kubernetes:config:kubeconfig": "other", "kubernetes:config:namespace": "shop"},
        environ,
    )
    assert (found.kubeconfig, found.namespace) == ("hidden", "shop")
    assert (found.secret_mutable, found.delete_unreachable) == (True, False)
    assert "hidden" not in repr(found)


def test_settings_that_need_the_official_plugin() -> None:
    failures = dict(check_settings({"renderYamlToDirectory": "out", "enableServerSideApply": "false"}))
    assert set(failures) == {"renderYamlToDirectory", "enableServerSideApply"}
    assert all("pulumi-resource-kubernetes" in reason for reason in failures.values())
    assert check_settings({"enableServerSideApply": "true", "renderYamlToDirectory": ""}) == []


@pytest.mark.parametrize("case", cases("drift"))
def test_drift(case: dict[str, Any]) -> None:
    schema = Schema({}, case["schema"]) if "schema" in case else None
    assert refreshed_inputs(case["inputs"], case["live"], case["recorded"], schema) == case["expect"]


@pytest.mark.parametrize("case", cases("ownership"))
def test_imported_inputs(case: dict[str, Any]) -> None:
    assert imported_inputs(case["live"], case["manager"]) == case["expect"]


@pytest.mark.parametrize("case", cases("ignoring"))
def test_ignored_properties_are_left_as_they_are(case: dict[str, Any]) -> None:
    entries = [
        {"manager": "me", "operation": "Apply", "fieldsV1": {"f:spec": {}}},
        {"manager": "other", "operation": "Update", "subresource": "status", "fieldsV1": {"f:spec": {}}},
    ]
    if "others" in case:
        entries.append({"manager": "other", "operation": "Update", "fieldsV1": case["others"]})
    live = {**case["live"], "metadata": {**case["live"].get("metadata", {}), "managedFields": entries}}
    ignored = [parse(text) for text in case["ignored"]]
    before = copy.deepcopy(case["body"])
    assert as_live(case["body"], live, "me", ignored, Schema({}, case.get("schema", {}))) == case["expect"]
    assert case["body"] == before
