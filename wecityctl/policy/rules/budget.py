"""What a tenant's apps cost at the clouds' prices stays within its budget."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal

from wecityctl.model.city import Tenant
from wecityctl.placement.demand import Item, Reader, items_of
from wecityctl.placement.supply import HOURS_PER_MONTH, MICRO, CloudSupply, supply_of
from wecityctl.policy.model import Finding, PolicyInput, Rule

WHY = """\
A department is given money for its services, and learns from the bill what they cost: by then it is spent. The clouds'
prices and what the apps ask for are in the files, so that what a month of a tenant's apps costs where they are placed
is known before anything runs. It is counted as the placement counts it: 730 hours, an app that grows with its load at
its smallest, capabilities at nobody's account, and nothing for what lies on a cloud without prices, so that the true
sum may be more. The rule is advice: the budget, the request or the price may be what has to change."""


def check(policy_input: PolicyInput) -> Iterator[Finding]:
    """Tenants whose apps cost more in a month than their budget."""
    for tenant, cost, currency in _bills(policy_input):
        if cost > Decimal(tenant.budget_monthly):
            yield Finding(
                subject=f"tenant {tenant.name}",
                message=f"its apps cost {_amount(cost)} {currency} a month, and its budget is"
                f" {_amount(Decimal(tenant.budget_monthly))}",
                resolution="ask for less, let the apps lie on a cheaper cloud, or raise the budget",
                document=("Tenant", tenant.name),
                path=("spec", "budget", "monthly"),
            )


def _bills(policy_input: PolicyInput) -> Iterator[tuple[Tenant, Decimal, str]]:
    """What the apps of each tenant with a budget cost in a month, in which currency; a city has one."""
    city, read = policy_input.city, Reader()
    tenants = [tenant for tenant in city.tenants if tenant.budget_monthly]
    clouds = {cloud.name: supply_of(cloud, read) for cloud in city.clouds}
    currency = next((cloud.prices.currency for cloud in city.clouds if cloud.prices is not None), "")
    if not tenants or not currency:
        return
    costs = dict.fromkeys((tenant.name for tenant in tenants), 0)
    for item in items_of(city, policy_input.catalogue, read):
        if item.app is not None and item.app.tenant in costs:
            costs[item.app.tenant] += _hourly(item, clouds[policy_input.placement.cloud_of(item.key)])
    for tenant in tenants:
        yield tenant, Decimal(costs[tenant.name]) / MICRO * HOURS_PER_MONTH, currency


def _hourly(item: Item, cloud: CloudSupply) -> int:
    """In micro-units; nothing on a cloud without prices."""
    return sum(cloud.cost(workload) or 0 for workload in item.workloads)


def _amount(value: Decimal) -> str:
    return f"{value:,.2f}"


def evidence(policy_input: PolicyInput) -> Iterator[str]:
    """What each tenant's apps cost beside its budget."""
    for tenant, cost, currency in _bills(policy_input):
        budget = _amount(Decimal(tenant.budget_monthly))
        yield f"apps of {tenant.name} cost {_amount(cost)} of {budget} {currency} a month"


RULE = Rule(
    name="budget",
    title="A tenant's apps cost no more than its budget 预算",
    why=WHY,
    check=check,
    level="advisory",
    evidence=evidence,
    applies=lambda city: any(tenant.budget_monthly for tenant in city.tenants),
)
