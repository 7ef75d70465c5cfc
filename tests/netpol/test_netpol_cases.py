"""The case files: objects, and connections with what must become of them, by the rules' text and by real packets."""

from __future__ import annotations

import socket
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from stacks import network_policies
from stacks.tenants.tenant import zone_flows
from tests.netpol import interpreter, objects, reference, traffic
from tests.netpol.interpreter import Packet
from tests.netpol.world import world
from tests.stacks.cities import city
from wecityctl.local.netpol.render import render
from wecityctl.model.city import Flow

CASES = sorted(Path(__file__).with_name("cases").glob("*.yaml"))


@dataclass
class Case:
    """`expected` says for each connection whether it must be let through."""

    objects: list[objects.Object]
    addresses: dict[str, str]
    expected: dict[Packet, bool]


def load(path: Path) -> Case:
    """Connections are written `source -> destination port/protocol`; the ends are namespace/name or an address."""
    text = yaml.safe_load(path.read_text())
    found = [objects.namespace(name, **(labels or {})) for name, labels in text["namespaces"].items()]
    addresses = {}
    for number, (place, spec) in enumerate(text["pods"].items(), 1):
        spec = dict(spec or {})
        addresses[place] = spec.pop("address", f"10.99.0.{number}")
        found.append(objects.pod(place, addresses[place], spec.pop("labels", None), **spec))
    found += [objects.policy(place, **(spec or {})) for place, spec in text["policies"].items()]
    expected: dict[Packet, bool] = {}
    for verdict in ("allowed", "denied"):
        for line in text[verdict] or ():
            source, _, destination, target = line.split()
            port, _, protocol = target.partition("/")
            packet = Packet(
                addresses.get(source, source), addresses.get(destination, destination), protocol or "tcp", int(port)
            )
            assert packet not in expected, f"{line} twice"
            expected[packet] = verdict == "allowed"
    return Case(found, addresses, expected)


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_compiled_rules(path: Path) -> None:
    case = load(path)
    rules = interpreter.read(render(objects.state(case.objects)))
    verdicts = {packet: rules.allows(packet) for packet in case.expected}
    assert verdicts == case.expected
    # The reference is used against random clusters: it must agree with what people wrote down.
    assert {packet: reference.allows(case.objects, objects.POD_CIDR, packet) for packet in verdicts} == case.expected


@pytest.mark.node
@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_real_packets(path: Path) -> None:
    case = load(path)
    packets = [each for each in case.expected if each.protocol != "sctp" or _sctp()]
    ends = dict.fromkeys(end for each in packets for end in (each.source, each.destination))
    with world(*ends) as made:
        made.load(render(objects.state(case.objects)))
        verdicts = traffic.attempt(made, packets, case.expected.__getitem__)
    assert verdicts == {packet: case.expected[packet] for packet in packets}


@pytest.mark.node
def test_a_declared_flow_joins_tenants_and_leaves_the_gateways_of_its_zones_out() -> None:
    """The policies of the tenants' own program, by the rules' text and by real packets."""
    whole = city(flows=(Flow("ex", "extranet", (8080,), "data-bureau", "records"),))
    ends = {"health-ex": "ex", "health-extranet": "extranet"}
    found = [
        objects.namespace(name, **{"wecity.dev/city": "xc", "wecity.dev/zone": zone, "wecity.dev/tenant": "health"})
        for name, zone in ends.items()
    ]
    platform = "platform-application-ex"
    found.append(objects.namespace(platform, **{"wecity.dev/city": "xc", "wecity.dev/zone": "ex"}))
    # An app may call a component as it likes.
    tenant, gateway, target = "10.99.0.1", "10.99.0.2", "10.99.0.3"
    label = {"app.kubernetes.io/component": "gateway"}
    found += [objects.pod("health-ex/hub", tenant, label), objects.pod("health-extranet/archive", target, label)]
    found.append(objects.pod(f"{platform}/gateway-ex", gateway, label))
    for name, zone in ends.items():
        found += [network_policies.default_deny(name), *zone_flows(whole, "main", zone, name)]
    # What the gateway may do of its own accord is not in question.
    expected = {
        Packet(tenant, target, "tcp", 8080): True,
        Packet(tenant, target, "tcp", 8081): False,
        Packet(target, tenant, "tcp", 8080): False,
        Packet(gateway, target, "tcp", 8080): False,
    }
    rules = render(objects.state(found))
    assert {packet: interpreter.read(rules).allows(packet) for packet in expected} == expected
    with world(tenant, gateway, target) as made:
        made.load(rules)
        assert traffic.attempt(made, list(expected), expected.__getitem__) == expected


def _sctp() -> bool:
    try:
        socket.socket(socket.AF_INET, socket.SOCK_STREAM, 132).close()
    except OSError:
        return False  # the kernel has no SCTP: these connections are judged by the text alone
    return True
