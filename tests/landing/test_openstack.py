"""The landing zone on OpenStack, as its own SDK would register it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tests.landing import support
from tests.landing.support import EXCHANGE, EXTRANET, INTERNET
from tests.landing.watched import watched
from wecityctl.errors import ConfigurationError
from wecityctl.model.city import PublicApi
from wecityctl.resource_graph import UNKNOWN

TEMPLATE = "openstack:containerinfra/clusterTemplate:ClusterTemplate"


def test_three_zones() -> None:
    found = support.recorded(support.city(support.cloud("openstack", INTERNET, EXTRANET, EXCHANGE)))
    assert support.unknown_inputs(found) == []
    support.check_snapshot("openstack", found)


def test_sm_is_refused() -> None:
    with pytest.raises(
        ConfigurationError, match="requires SM cryptography, and OpenStack's key manager has no SM keys"
    ):
        support.recorded(support.city(support.cloud("openstack", EXTRANET), sm=True))


def test_without_barbican_there_is_no_key() -> None:
    base = support.cloud("openstack", EXTRANET)
    found = support.recorded(support.city(replace(base, settings=replace(base.settings, key_manager=False))))
    assert "openstack:keymanager/orderV1:OrderV1" not in support.tokens(found)
    assert support.outputs_of(found).key == ""


def test_an_extranet_alone_has_no_router_and_no_floating_address() -> None:
    found = support.recorded(support.city(support.cloud("openstack", EXTRANET)))
    assert not {token for token in support.tokens(found) if "outer" in token or "floatingIp" in token}
    template = support.by_type(found, TEMPLATE)["cluster"].inputs
    assert template["floatingIpEnabled"] is False
    assert template["labels"]["master_lb_floating_ip_enabled"] == "false"


def test_an_api_on_the_internet_has_an_access_list() -> None:
    allowed = PublicApi(("203.0.113.0/24", "198.51.100.7/32"))
    found = support.recorded(support.city(support.cloud("openstack", INTERNET, public_api=allowed)))
    labels = support.by_type(found, TEMPLATE)["cluster"].inputs["labels"]
    assert labels["master_lb_floating_ip_enabled"] == "true"
    # Nodes and pods come by the same balancer.
    assert labels["master_lb_allowed_cidrs"] == "10.8.0.0/16,172.20.0.0/16,203.0.113.0/24,198.51.100.7/32"
    cluster = support.by_type(found, "openstack:containerinfra/cluster:Cluster")["cluster"]
    assert any(urn.endswith("::out-internet") for urn in cluster.depends_on)


def test_routes_lead_to_declared_neighbours_only() -> None:
    found = support.recorded(support.city(support.cloud("openstack", INTERNET, EXTRANET, EXCHANGE)))
    assert set(support.by_type(found, "openstack:networking/subnetRoute:SubnetRoute")) == {"internet-to-exchange"}


def test_the_kubeconfig_is_magnums() -> None:
    base = support.cloud("openstack", INTERNET)
    outputs = {"openstack:containerinfra/cluster:Cluster": {"kubeconfig": {"raw_config": "apiVersion: v1"}}}
    answers: dict[str, dict[str, Any]] = {"openstack:networking/getNetwork:getNetwork": {"id": "0f3e"}}
    there = support.city(replace(base, settings=replace(base.settings, external_network="public")))
    seen = watched(there, outputs=outputs, answers=answers)
    found = seen.recording
    assert [asked["name"] for asked in seen.calls.values()] == ["public"]
    assert support.outputs_of(found).kubeconfig == "apiVersion: v1"
    # A network that the file names is looked up, because a router takes identifiers only.
    assert support.by_type(found, "openstack:networking/router:Router")["out"].inputs["externalNetworkId"] == "0f3e"


def test_a_network_that_a_preview_cannot_look_up_is_unknown_and_not_missing() -> None:
    base = support.cloud("openstack", INTERNET)
    there = support.city(replace(base, settings=replace(base.settings, external_network="public")))
    found = support.recorded(there)
    assert support.by_type(found, "openstack:networking/router:Router")["out"].inputs["externalNetworkId"] == UNKNOWN
