"""The limits of all apps in a capability together are no more than it has."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal

from wecityctl.model.quantity import format_bytes, parse_quantity
from wecityctl.model.requirements import uses_of
from wecityctl.policy.data import running
from wecityctl.policy.model import Finding, PolicyInput, Rule

WHY = """\
Each use of a shared capability has limits: connections, storage. As long as they add up to no more than the instance
has, no app and no group of apps can take what the others were promised. Beyond that the limits still hold one by one,
and several apps that use all of theirs at the same time can leave nothing for the next. The rule adds up what running
apps state under `uses`, and the type's own limits where they state none. It is advice: few apps use all of their
limits, and a city may count on that."""


def check(policy_input: PolicyInput) -> Iterator[Finding]:
    """Capabilities whose running apps may take more connections or storage together than there is."""
    city, catalogue = policy_input.city, policy_input.catalogue
    uses = [use for app in running(policy_input) for use in app.uses]
    uses += [use for item in city.capabilities for use in uses_of(item, city.capabilities, catalogue)]
    for platform in city.platforms:
        for index, item in enumerate(platform.capabilities):
            kind = catalogue[item.type]
            limits = [kind.limits_of(use) for use in uses if use.capability == item.name]
            connections = sum(limit.connections for limit in limits)
            storage = sum((parse_quantity(limit.storage) for limit in limits if limit.storage), Decimal(0))
            there = parse_quantity(item.storage or kind.storage or "0")
            words = []
            if item.size in kind.connections and connections > kind.connections[item.size]:
                words.append(f"{connections} connections where there are {kind.connections[item.size]}")
            # A type without a volume keeps what it stores in another capability, whose limit of its use holds there.
            if kind.limits.storage and there and storage > there:
                words.append(f"{format_bytes(storage)} of storage where there are {format_bytes(there)}")
            if words:
                yield Finding(
                    subject=f"capability {item.name}",
                    message=f"its apps together may take {' and '.join(words)}",
                    resolution="state lower limits under their uses, give it more, or split it in two",
                    document=("Platform", platform.name),
                    path=("spec", "capabilities", index),
                )


RULE = Rule(
    name="overcommitted-capability",
    title="Limits add up to what there is 限额不超过容量",
    why=WHY,
    check=check,
    level="advisory",
    of_files=True,
)
