"""Random small clusters: the rules' text and the plain reading of the API's words must agree on every connection."""

from __future__ import annotations

from itertools import pairwise, product
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.netpol import interpreter, objects, reference
from tests.netpol.interpreter import Packet
from wecityctl.local.netpol.ranges import merge, subtract
from wecityctl.local.netpol.render import render

pytestmark = pytest.mark.slow

_NAMESPACES = ("a", "b", "c")
_OUTSIDE = ("192.0.2.1", "192.0.2.9", "10.98.0.1")
_UNKNOWN = "10.99.9.9"
_labels = st.dictionaries(st.sampled_from(["x", "y"]), st.sampled_from(["1", "2"]), max_size=2)
_expression = st.one_of(
    st.builds(
        lambda key, operator, values: {"key": key, "operator": operator, "values": values},
        st.sampled_from(["x", "y"]),
        st.sampled_from(["In", "NotIn"]),
        st.lists(st.sampled_from(["1", "2"]), min_size=1, max_size=2, unique=True),
    ),
    st.builds(
        lambda key, operator: {"key": key, "operator": operator},
        st.sampled_from(["x", "y"]),
        st.sampled_from(["Exists", "DoesNotExist"]),
    ),
)
_selector = st.fixed_dictionaries(
    {}, optional={"matchLabels": _labels, "matchExpressions": st.lists(_expression, max_size=2)}
)
_block = st.one_of(
    st.just({"cidr": "0.0.0.0/0"}),
    st.just({"cidr": "::/0"}),
    st.fixed_dictionaries(
        {"cidr": st.sampled_from(["192.0.2.0/24", "192.0.2.0/29", "10.96.0.0/12", "0.0.0.0/0"])},
        optional={"except": st.lists(st.sampled_from(["192.0.2.0/30", "10.98.0.0/16", "10.99.0.2/32"]), max_size=2)},
    ),
)
_peer = st.one_of(
    st.builds(lambda pods: {"podSelector": pods}, _selector),
    st.builds(lambda spaces: {"namespaceSelector": spaces}, _selector),
    st.builds(lambda pods, spaces: {"podSelector": pods, "namespaceSelector": spaces}, _selector, _selector),
    st.builds(lambda block: {"ipBlock": block}, _block),
)
_protocol = st.sampled_from(["TCP", "UDP", "SCTP"])
_port = st.one_of(
    st.fixed_dictionaries({}, optional={"protocol": _protocol}),
    st.fixed_dictionaries({"port": st.sampled_from([80, 81, "http", "dns"])}, optional={"protocol": _protocol}),
    st.fixed_dictionaries(
        {"port": st.sampled_from([79, 80]), "endPort": st.sampled_from([80, 81])}, optional={"protocol": _protocol}
    ),
)


def _rules(peers: str) -> st.SearchStrategy[list[dict[str, Any]]]:
    rule = st.fixed_dictionaries(
        {}, optional={peers: st.lists(_peer, max_size=3), "ports": st.lists(_port, max_size=2)}
    )
    return st.lists(rule, max_size=2)


_spec = st.fixed_dictionaries(
    {"podSelector": _selector},
    optional={
        "policyTypes": st.sampled_from([[], ["Ingress"], ["Egress"], ["Ingress", "Egress"]]),
        "ingress": _rules("from"),
        "egress": _rules("to"),
    },
)
_pod = st.builds(
    lambda space, labels, ports, phase, host: (space, labels, ports, phase, host),
    st.sampled_from(_NAMESPACES),
    _labels,
    st.fixed_dictionaries({}, optional={"http": st.sampled_from([80, 81, ("UDP", 80)]), "dns": st.just(("UDP", 81))}),
    st.sampled_from(["Running", "Running", "Running", "Pending", "Succeeded", "Failed"]),
    st.sampled_from([False, False, False, True]),
)


@st.composite
def _clusters(draw: st.DrawFn) -> list[objects.Object]:
    found = [objects.namespace(name, **draw(_labels)) for name in _NAMESPACES]
    for number, (space, labels, ports, phase, host) in enumerate(draw(st.lists(_pod, min_size=1, max_size=5))):
        address = f"10.99.0.{number + 1}"
        found.append(objects.pod(f"{space}/p{number}", address, labels, ports=ports, phase=phase, hostNetwork=host))
    for number, spec in enumerate(draw(st.lists(_spec, max_size=4))):
        found.append(objects.policy(f"{draw(st.sampled_from(_NAMESPACES))}/n{number}", **spec))
    return found


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(_clusters())
def test_random_clusters(cluster: list[objects.Object]) -> None:
    script = render(objects.state(cluster))
    assert script == render(objects.state(list(reversed(cluster)))), "the order of listing must not matter"
    rules = interpreter.read(script)
    pods = [each["status"]["podIP"] for each in cluster if each["kind"] == "Pod"]
    ends = (*pods, *_OUTSIDE, _UNKNOWN)
    for source, destination in product(ends, ends):
        if source in _OUTSIDE and destination in _OUTSIDE:
            continue
        for protocol, port in (("tcp", 80), ("tcp", 81), ("udp", 80), ("udp", 81), ("sctp", 80), ("tcp", 82)):
            packet = Packet(source, destination, protocol, port)
            assert rules.allows(packet) == reference.allows(cluster, objects.POD_CIDR, packet), packet


_ranges = st.lists(st.tuples(st.integers(0, 60), st.integers(0, 60)).map(lambda r: (min(r), max(r))), max_size=6)


@given(_ranges, _ranges)
def test_ranges(ranges: list[tuple[int, int]], holes: list[tuple[int, int]]) -> None:
    def members(found: Any) -> set[int]:
        return {each for first, last in found for each in range(first, last + 1)}

    left = subtract(ranges, holes)
    assert members(left) == members(ranges) - members(holes)
    assert members(merge(ranges)) == members(ranges)
    for found in (left, merge(ranges)):
        assert all(first <= last for first, last in found)
        assert all(before[1] + 1 < after[0] for before, after in pairwise(found))
