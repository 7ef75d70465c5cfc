"""Capabilities that observe the city's namespaces: their rights, and where these hold."""

from __future__ import annotations

from dataclasses import replace

import pytest

from stacks.catalogue import load_catalogue
from tests.stacks.cities import CLUSTER, full_city, objects, one, record_city
from wecityctl.model.catalogue import Catalogue, Observer, Right
from wecityctl.resource_graph import Recording

READ = ["get", "list", "watch"]
OBSERVER = Observer(inside=(Right("", ("pods", "pods/log")),), cluster=(Right("", ("nodes",), ("get",)),))
ACCOUNT = {"kind": "ServiceAccount", "name": "cache-observer", "namespace": "platform-application"}


def catalogue() -> Catalogue:
    """The catalogue, with a cache that observes."""
    found = dict(load_catalogue())
    found["cache"] = replace(found["cache"], observes=OBSERVER)
    return found


@pytest.fixture(scope="module")
def observed() -> dict[str, Recording]:
    cluster = replace(CLUSTER, api_servers=("192.0.2.1:6443", "2001:db8::1:6443"))
    return record_city(full_city(), cluster, catalogue=catalogue())


def test_an_observer_is_bound_in_each_namespace_of_the_city(observed: dict[str, Recording]) -> None:
    bound = [item for item in objects(observed, "RoleBinding") if ACCOUNT in item.inputs["subjects"]]
    assert {item.inputs["metadata"]["namespace"] for item in bound} == {
        item.inputs["metadata"]["name"] for item in objects(observed, "Namespace")
    }
    assert {item.inputs["roleRef"]["name"] for item in bound} == {"xc-cache-observer"}
    role = one(observed, "ClusterRole", "xc-cache-observer")
    assert role.inputs["rules"] == [{"apiGroups": [""], "resources": ["pods", "pods/log"], "verbs": READ}]


def test_only_what_is_in_no_namespace_is_bound_for_the_cluster(observed: dict[str, Recording]) -> None:
    bound = [item for item in objects(observed, "ClusterRoleBinding") if ACCOUNT in item.inputs["subjects"]]
    assert [item.inputs["roleRef"]["name"] for item in bound] == ["xc-cache-cluster-observer"]
    role = one(observed, "ClusterRole", "xc-cache-cluster-observer")
    assert role.inputs["rules"] == [{"apiGroups": [""], "resources": ["nodes"], "verbs": ["get"]}]


def test_its_pods_may_reach_the_api_servers_and_nothing_else(observed: dict[str, Recording]) -> None:
    policy = one(observed, "NetworkPolicy", "platform-application/cache-to-api-servers").inputs["spec"]
    assert policy["policyTypes"] == ["Egress"]
    assert policy["podSelector"]["matchLabels"]["app.kubernetes.io/component"] == "observer"
    assert [(rule["to"][0]["ipBlock"]["cidr"], rule["ports"][0]["port"]) for rule in policy["egress"]] == [
        ("192.0.2.1/32", 6443),
        ("2001:db8::1/128", 6443),
    ]
    account = one(observed, "ServiceAccount", "platform-application/cache-observer")
    assert account.inputs["automountServiceAccountToken"] is False


def test_a_city_without_observers_has_none_of_it() -> None:
    found = [item.name for item in objects(record_city(full_city())) if "observer" in item.name]
    assert found == []
