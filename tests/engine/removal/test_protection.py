"""What a vendor protects against deletion is found in a state, whatever the vendor calls it, and lifted there alone."""

from __future__ import annotations

from typing import Any

import pytest

from wecityctl.engine.removal.protection import lifted_of, vendor_providers
from wecityctl.engine.state.checkpoint import StackState, parse_state

PROVIDER = "urn:pulumi:xc.landing.main::wecity::pulumi:providers:tencentcloud::cloud"
CLUSTER = "urn:pulumi:xc.landing.main::wecity::tencentcloud:Kubernetes/cluster:Cluster::cluster"


NETWORK = "urn:pulumi:xc.landing.main::wecity::tencentcloud:Vpc/instance:Instance::network"


class Plain:
    """A back end whose states hold no secrets."""

    def reveal(self, deployment: Any, value: Any) -> Any:
        return value


def state_of(**inputs: Any) -> StackState:
    provider = {"urn": PROVIDER, "type": "pulumi:providers:tencentcloud", "id": "p-1", "custom": True}
    made = {
        "urn": CLUSTER,
        "type": "tencentcloud:Kubernetes/cluster:Cluster",
        "id": "cls-1",
        "custom": True,
        "protect": True,
        "provider": f"{PROVIDER}::p-1",
        "dependencies": [NETWORK],
        "customTimeouts": {"delete": 3600},
        "inputs": inputs,
    }
    network = {"urn": NETWORK, "type": "tencentcloud:Vpc/instance:Instance", "id": "vpc-1", "custom": True}
    network |= {"provider": f"{PROVIDER}::p-1", "inputs": {"cidrBlock": "10.8.0.0/16"}}
    # What is only read is nobody's to register.
    read = {**network, "urn": f"{NETWORK}-read", "external": True}
    resources = [
        {**provider, "inputs": {"region": "ap-guangzhou", "version": "0.2.3", "__internal": {}}},
        network,
        read,
        made,
    ]
    found = parse_state("xc.landing.main", {"resources": resources}, None, b"")
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("name", "on", "off"),
    [
        ("deletionProtection", True, False),
        ("deletionProtection", "Enabled", "Disabled"),
        ("deletionProtectionEnable", True, False),
        ("deleteProtect", True, False),
        ("deleteProtection", "on", "off"),
    ],
)
def test_the_switch_is_off_and_all_else_as_it_was(name: str, on: Any, off: Any) -> None:
    state = state_of(vpcId="vpc-1", tags={"a": "b", "__defaults": []}, __defaults=["x"], **{name: on})
    before, found = lifted_of(Plain(), state)  # type: ignore[arg-type]
    # All that was made is registered, in order, since what is not would be taken for deleted; one of it is changed.
    assert (before.urn, before.protected, found.protected) == (NETWORK, False, True)
    assert (found.dependencies, found.timeouts, found.kept) == ((NETWORK,), {"delete": 3600.0}, True)
    assert dict(found.inputs) == {"vpcId": "vpc-1", "tags": {"a": "b"}, name: off}
    assert (found.urn, found.provider) == (CLUSTER, "cloud")
    (provider,) = vendor_providers(Plain(), state, [found.provider])  # type: ignore[arg-type]
    assert provider == {
        "package": "tencentcloud",
        "name": "cloud",
        "inputs": {"region": "ap-guangzhou"},
        "version": "0.2.3",
    }


def test_what_is_not_protected_is_left_alone() -> None:
    assert lifted_of(Plain(), state_of(deletionProtection=False, vpcId="vpc-1")) == ()  # type: ignore[arg-type]
