"""Important data does not cross from one cloud to another in plain text."""

from __future__ import annotations

from collections.abc import Iterator

from wecityctl.crossings import AnyCrossing, RouteCrossing, UseCrossing, find_crossings
from wecityctl.policy.model import Finding, Posture, Rule

WHY = """\
Within a cluster traffic stays on its own nodes and behind its network policies. Between clouds it leaves what the city
runs: lines, switches and vendors in between see every byte that is not encrypted. The gateway's way to an app is plain
text unless its route says `tls: true`, and so is a capability with `tls: false` or without TLS. So an app that holds
data of class L3 or L4 stays on the cloud of what it uses and of the gateway, speaks TLS and uses what does, or crosses
between clouds that both declare their way to be encrypted below us (spec.crossing.encrypted: IPsec, MACsec, an
encrypted private line) – a statement that its owner answers for, and that no waiver replaces."""

_PLAIN_ENOUGH = ("L1", "L2")


def check(posture: Posture) -> Iterator[Finding]:
    """Apps with data of class L3 or L4 of which something crosses clouds unencrypted."""
    city = posture.city
    for item in find_crossings(city, posture.catalogue, posture.placement).in_the_clear(city, posture.catalogue):
        app = item.app
        if app.data_class in _PLAIN_ENOUGH:
            continue
        yield Finding(
            subject=f"{app.tenant}/{app.name}",
            message=f"data of class {app.data_class} crosses from cloud {item.source} to {item.target} in plain text: "
            + _what(item),
            resolution=_advice(posture, item),
            stack=f"{city.name}.tenant.{app.tenant}.{posture.placement.apps[(app.tenant, app.name)]}",
            document=("App", f"{app.tenant}/{app.name}"),
            path=("spec", "route") if isinstance(item, RouteCrossing) else ("spec", "uses", app.uses.index(item.use)),
        )


def _advice(posture: Posture, item: AnyCrossing) -> str:
    apart = "pin both to one cloud (spec.cloud), or encrypt the way and say so of both clouds (spec.crossing.encrypted)"
    if isinstance(item, UseCrossing) and posture.catalogue[item.capability.type].tls:
        return f"remove tls: false of {item.capability.name}; or {apart}"
    if isinstance(item, RouteCrossing):
        return f"let the app serve TLS (spec.route.tls); or {apart}"
    return apart


def _what(item: AnyCrossing) -> str:
    if isinstance(item, RouteCrossing):
        return "the entry point's way to it"
    return f"its use of {item.capability.name}"


def evidence(posture: Posture) -> Iterator[str]:
    """What crosses, and how."""
    crossings = find_crossings(posture.city, posture.catalogue, posture.placement)
    clear = crossings.in_the_clear(posture.city, posture.catalogue)
    for item in crossings:
        how = "in plain text" if item in clear else "encrypted"
        yield (
            f"{item.app.tenant}/{item.app.name} ({item.app.data_class}): {_what(item)} crosses from {item.source} "
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
