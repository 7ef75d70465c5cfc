"""The members of a capability run on as many nodes, so that one node's end is not the end of all of them."""

from __future__ import annotations

from collections.abc import Iterator

from wecityctl.model.city import Capability, Cloud
from wecityctl.model.members import count_of
from wecityctl.policy.model import Finding, PolicyInput, Rule

WHY = """\
A database of several members goes on when one of them ends, and loses no row that was acknowledged. On one node they
all end together: what was paid for twice is then no safer than a single server. The scheduler puts members on different
nodes where there are some, in different data centres first; the cloud has to have them. The rule is advice, as a city
on a developer's machine has one node and may try members all the same."""


def check(policy_input: PolicyInput) -> Iterator[Finding]:
    """Capabilities that have more members than their cloud has nodes for them."""
    city, placed = policy_input.city, policy_input.placement.capabilities
    for platform in city.platforms:
        for index, item in enumerate(platform.capabilities):
            if not item.has_members or item.name not in placed:
                continue
            nodes = _nodes(city.cloud(placed[item.name]), item)
            if nodes is not None and nodes < count_of(item):
                yield Finding(
                    subject=f"capability {item.name}",
                    message=f"its {count_of(item)} members share {'one node' if nodes == 1 else f'{nodes} nodes'}",
                    resolution="place it on a cloud with a node for each member, or let it have one",
                    document=("Platform", platform.name),
                    path=("spec", "capabilities", index, "replicas"),
                )


def _nodes(cloud: Cloud, item: Capability) -> int | None:
    """How many nodes the members may run on; `None` if the files do not say."""
    if cloud.provider == "local" and cloud.local.nodes == "real":
        return 1
    pools = [pool for pool in cloud.pools if not item.zone or not pool.zones or item.zone in pool.zones]
    return sum(pool.nodes for pool in pools) or None


RULE = Rule(
    name="members-apart",
    title="Members on different nodes 成员分布于不同节点",
    why=WHY,
    check=check,
    of_files=True,
    level="advisory",
)
