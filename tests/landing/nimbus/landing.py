"""The landing zone on Nimbus: one resource of each kind, of the SDK's own classes."""

from __future__ import annotations

from typing import Any

import pulumi
from stacks.clouds.nimbus import NimbusSettings

from stacks.base import landing
from wecityctl.inputs import StackInputs


def run(inputs: StackInputs) -> dict[str, Any]:
    """Register the landing zone of the stack's cloud and say what it has."""
    zone = landing.plan_landing(inputs.city, inputs.stack.cloud, inputs.balancers)
    settings = zone.cloud.settings_as(NimbusSettings)
    network = pulumi.CustomResource("nimbus:net/network:Network", "network", {"cidr": zone.cloud.network.cidr})
    cluster = pulumi.CustomResource("nimbus:k8s/cluster:Cluster", "cluster", {"altitude": settings.altitude})
    return landing.outputs(
        zone,
        kubeconfig="",
        network=network.id,
        subnets={item.name: network.id for item in zone.subnets},
        cluster=cluster.id,
    )
