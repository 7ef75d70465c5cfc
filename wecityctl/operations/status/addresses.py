"""Lists the addresses that apps may use and those at which they are reached, from the outputs of tenants' stacks."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from wecityctl.model.naming import stack_name
from wecityctl.model.outputs import EntryOutputs, TenantOutputs, outputs_from_json
from wecityctl.operations.status.values import AppAddress

if TYPE_CHECKING:
    from wecityctl.engine.state.backend import Backend
    from wecityctl.plan import Plan


def app_addresses(plan: Plan, backend: Backend) -> tuple[AppAddress, ...]:
    """Return the addresses of the apps that are up, in the order of the plan."""
    found: list[AppAddress] = []
    hosts = served_hosts(plan, backend)
    for stack in plan.stacks:
        state = backend.read_state(stack.name) if stack.layer == "tenant" else None
        if state is None or state.outputs is None:
            continue
        try:
            outputs = outputs_from_json("tenant", dict(state.outputs))
        except (ValueError, TypeError):
            # Another version wrote them.
            continue
        if isinstance(outputs, TenantOutputs):
            found += _addresses(outputs, hosts)
    return tuple(found)


def served_hosts(plan: Plan, backend: Backend) -> frozenset[str]:
    """Return the hosts that the entry points had after their last run."""
    state = backend.read_state(stack_name(plan.city.name, "entry"))
    try:
        outputs = outputs_from_json("entry", dict(state.outputs)) if state is not None and state.outputs else None
    except (ValueError, TypeError):
        return frozenset()
    return frozenset(dict(outputs.addresses)) if isinstance(outputs, EntryOutputs) else frozenset()


def _addresses(outputs: TenantOutputs, hosts: frozenset[str]) -> Iterator[AppAddress]:
    cloud, tenant = outputs.cloud, outputs.tenant
    for route in outputs.routes:
        address, served = f"{route.host}{route.path}", route.is_suspended or route.host in hosts
        yield AppAddress(cloud, f"{tenant}/{route.app}", "route", "", "the entry point", address, served)
    for item in outputs.provided:
        app, where = f"{tenant}/{item.app}", "other apps"
        yield AppAddress(cloud, app, "provides", item.name, where, f"{item.host}:{item.port}")
        if item.external_host:
            address = f"{item.external_host}:{item.external_port}"
            yield AppAddress(cloud, app, "provides", item.name, f"{where} on other clouds", address)
    for used in outputs.used:
        yield AppAddress(cloud, f"{tenant}/{used.app}", "uses", used.alias, used.of, f"{used.host}:{used.port}")
