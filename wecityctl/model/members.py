"""The names of what the members of a capability have. Pure functions of the files."""

from __future__ import annotations

from wecityctl.model import naming
from wecityctl.model.city import Capability


def count_of(capability: Capability) -> int:
    """How many members a capability has; 1 for one that has none."""
    return (capability.replicas or 1) if capability.has_members else 1


def workload(capability: str, index: int) -> str:
    """The name of a member's StatefulSet. The first one's is that of an instance without members."""
    return naming.fit(f"{capability}-member-{index}") if index else capability


def claim(capability: str, index: int) -> str:
    """The name of a member's volume claim; the first one's is that of an instance without members."""
    return naming.fit(f"{workload(capability, index)}-data")


def claims_of(capability: Capability) -> tuple[str, ...]:
    """The names of all volume claims of a capability that has one for each member."""
    return tuple(claim(capability.name, index) for index in range(count_of(capability)))


def service(capability: str) -> str:
    """The name of the headless Service that gives members their DNS names."""
    return naming.fit(f"{capability}-members")


def domain(capability: Capability) -> str:
    """The DNS domain of the members' pods."""
    namespace = naming.platform_namespace(capability.platform, capability.zone)
    return f"{service(capability.name)}.{namespace}.svc.cluster.local"
