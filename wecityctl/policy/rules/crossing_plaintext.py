"""Important data does not cross from one cloud to another in plain text."""

from __future__ import annotations

from collections.abc import Iterator

from wecityctl.interconnects import (
    AnyInterconnect,
    AppUseInterconnect,
    RouteInterconnect,
    UseInterconnect,
    find_interconnects,
)
from wecityctl.model import naming
from wecityctl.model.city import App, Capability, City
from wecityctl.model.requirements import requirements
from wecityctl.placement.demand import data_classes
from wecityctl.policy.model import Finding, PolicyInput, Rule

WHY = """\
Within a cluster traffic stays on its own nodes and behind its network policies. Between clouds it leaves what the city
runs: lines, switches and vendors in between see every byte that is not encrypted. The gateway's way to an app is plain
text unless its route says `tls: true`, and so is a capability with `tls: false` or without TLS. So an app that holds
data of class L3 or L4 stays on the cloud of what it uses and of the gateway, speaks TLS and uses what does, or crosses
between clouds that both declare their way to be encrypted below us (spec.interconnect.encrypted: IPsec, MACsec, an
encrypted private line) – a statement that its owner answers for, and that no waiver replaces. The same holds for a
capability that uses another one: what crosses is the data of its users."""

_PLAIN_ENOUGH = ("L1", "L2")


def check(policy_input: PolicyInput) -> Iterator[Finding]:
    """Apps with data of class L3 or L4, and capabilities that hold such data, of which something crosses clouds
    unencrypted."""
    city, placement = policy_input.city, policy_input.placement
    for item in find_interconnects(city, policy_input.catalogue, placement).in_the_clear(city, policy_input.catalogue):
        user = _user(item)
        data_class = _class_of(policy_input, item)
        if data_class in _PLAIN_ENOUGH:
            continue
        message = f"data of class {data_class} crosses from cloud {item.source} to {item.target} in plain text: "
        if isinstance(user, App):
            stack = naming.stack_name(city.name, "tenant", user.tenant, placement.apps[(user.tenant, user.name)])
            document = ("App", f"{user.tenant}/{user.name}")
        else:
            stack = naming.stack_name(city.name, "platform", user.platform, item.source)
            document = ("Platform", user.platform)
        yield Finding(
            subject=_subject(user),
            message=message + _what(item),
            resolution=_advice(policy_input, item),
            stack=stack,
            document=document,
            path=_path(city, item),
        )


def _user(item: AnyInterconnect) -> App | Capability:
    return item.user if isinstance(item, UseInterconnect) else item.app


def _subject(user: App | Capability) -> str:
    return f"{user.tenant}/{user.name}" if isinstance(user, App) else f"capability {user.name}"


def _class_of(policy_input: PolicyInput, item: AnyInterconnect) -> str:
    """The class of the data that crosses: the app's, or that which another app gives it if that is higher; for a
    capability the highest of those that use it, and L1 if nobody does."""
    if isinstance(item, AppUseInterconnect):
        return max(item.app.data_class, item.used.data_class)
    user = _user(item)
    if isinstance(user, App):
        return user.data_class
    city = policy_input.city
    classes = data_classes(city, requirements(city.capabilities, policy_input.catalogue))
    return classes.get(user.name, _PLAIN_ENOUGH[0])


def _path(city: City, item: AnyInterconnect) -> tuple[str | int, ...]:
    if isinstance(item, UseInterconnect) and not isinstance(item.user, App):
        platform = next(each for each in city.platforms if each.name == item.user.platform)
        return ("spec", "capabilities", platform.capabilities.index(item.user), "name")
    if isinstance(item, RouteInterconnect):
        return ("spec", "route")
    if isinstance(item, AppUseInterconnect):
        return ("spec", "uses", item.use.index)
    assert isinstance(item.user, App)
    return ("spec", "uses", next(index for index, use in item.user.indexed_uses() if use == item.use))


def _advice(policy_input: PolicyInput, item: AnyInterconnect) -> str:
    apart = (
        "pin both to one cloud (spec.cloud), or encrypt the way and say so of both clouds (spec.interconnect.encrypted)"
    )
    if isinstance(item, UseInterconnect) and policy_input.catalogue[item.capability.type].tls:
        return f"remove tls: false of {item.capability.name}; or {apart}"
    if isinstance(item, RouteInterconnect):
        return f"let the app serve TLS (spec.route.tls); or {apart}"
    if isinstance(item, AppUseInterconnect) and not item.used.is_tls:
        return f"use a port of {item.use.tenant}/{item.use.app} that serves TLS (spec.route.tls there); or {apart}"
    return apart


def _what(item: AnyInterconnect) -> str:
    if isinstance(item, RouteInterconnect):
        return "the entry point's way to it"
    if isinstance(item, AppUseInterconnect):
        return f"its use of {item.use.tenant}/{item.use.app}"
    return f"its use of {item.capability.name}"


def evidence(policy_input: PolicyInput) -> Iterator[str]:
    """What crosses, and how."""
    interconnects = find_interconnects(policy_input.city, policy_input.catalogue, policy_input.placement)
    clear = interconnects.in_the_clear(policy_input.city, policy_input.catalogue)
    for item in interconnects:
        how = "in plain text" if item in clear else "encrypted"
        yield (
            f"{_subject(_user(item))} ({_class_of(policy_input, item)}): {_what(item)} crosses from {item.source} "
            f"to {item.target} {how}"
        )


RULE = Rule(
    name="crossing-plaintext",
    title="No important data between clouds in plain text",
    why=WHY,
    check=check,
    veto=True,
    controls=("8.1.2.2 通信传输", "8.1.4.8 数据保密性"),
    evidence=evidence,
    applies=lambda city: len(city.clouds) > 1,
)
