"""Sensitive data lies in a store that no other tenant uses."""

from __future__ import annotations

from collections.abc import Iterator

from wecityctl.model.city import DataRule
from wecityctl.policy.data import CITIZENS, lodgings, store_users
from wecityctl.policy.model import Finding, PolicyInput, Rule

WHY = """\
Apps that share a database server or cache are kept apart by roles, prefixes and limits, but share its process: a fault
of the server, or an app that takes all of its computing time, meets all of them. Data of class L3 (sensitive) and L4
(core) is better off in an instance of its tenant's own: a capability with `dedicated: {tenant: …}`, which no other
tenant's app can bind to. The rule is advice; a city makes it mandatory, with a veto, for a class of data by
`compliance.dataClasses.L3.dedicated: true`, which rule data-class then holds."""


def check(policy_input: PolicyInput) -> Iterator[Finding]:
    """Stores of sensitive data that other tenants' running apps use, where the city does not forbid it anyway."""
    classes = policy_input.city.compliance.data_classes
    users = store_users(policy_input)
    for place in lodgings(policy_input):
        app, store = place.app, place.capability
        if store is None or app.data_class not in CITIZENS or classes.get(app.data_class, DataRule()).dedicated:
            continue
        others = {user.tenant for user in users[store.name]} - {app.tenant}
        if others:
            name, together = f"{app.tenant}/{app.name}", ", ".join(sorted(others))
            yield Finding(
                subject=name,
                message=f"{app.data_class} data lies in {place.where} together with data of {together}",
                resolution=f"use one with dedicated: {{tenant: {app.tenant}}} and type: {store.type}",
                document=("App", name),
                path=place.path,
            )


RULE = Rule(
    name="dedicated-store",
    title="Sensitive data has a store of its own 敏感数据独立存储",
    why=WHY,
    check=check,
    level="advisory",
    of_files=True,
)
