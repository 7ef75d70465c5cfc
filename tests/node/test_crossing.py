"""What a node lets through to and from its neighbours, and what it keeps of them. No root is needed."""

from __future__ import annotations

from pathlib import Path

import pytest

from wecityctl.local.node import interconnect
from wecityctl.local.node.layout import HoldSpec, Layout
from wecityctl.local.node.network import Block
from wecityctl.local.node.nft import Neighbour, base_ruleset

OWN, THEIRS = Block.parse("198.18.8.0/21"), Block.parse("198.18.16.0/21")
SERVES = Neighbour("wcx-0a1b2c3d", THEIRS, (30010, 30011), ())
ASKS = Neighbour("wcx-0a1b2c3d", THEIRS, (), (30020,))


def chain(neighbour: Neighbour | None) -> list[str]:
    """The rules of the forward chain, in order."""
    text = base_ruleset(OWN, 6443, [neighbour] if neighbour is not None else [])
    body = text.partition("chain forward {")[2].partition("}\n  chain input")[0]
    return [line.strip() for line in body.splitlines() if line.strip() and "type filter" not in line][:-1]


def position(rules: list[str], text: str) -> int:
    (found,) = [number for number, rule in enumerate(rules) if text in rule]
    return found


def test_without_neighbours_nothing_passes_a_interconnect() -> None:
    rules = chain(None)
    assert 'iifname "wcx-*" drop' in rules[position(rules, 'iifname "wcx-')]
    assert 'oifname "wcx-*" reject' in rules[position(rules, 'oifname "wcx-')]


def test_a_neighbours_pods_reach_served_node_ports_and_pods_behind_them_alone() -> None:
    rules = chain(SERVES)
    (rule,) = [each for each in rules if each.startswith('iifname "wcx-0a1b2c3d"')]
    assert rule == (
        f'iifname "wcx-0a1b2c3d" ip saddr {THEIRS.pod_cidr} ip daddr {OWN.pod_cidr} meta l4proto tcp '
        f"ct original ip daddr {OWN.node_ip} ct original proto-dst {{ 30010, 30011 }} accept"
    )
    # Before the rule that drops the rest, and before the one by which pods speak for themselves alone.
    assert rules.index(rule) < position(rules, 'iifname "wcx-*" drop') < position(rules, "a pod speaks for itself")
    assert not [each for each in rules if each.startswith('oifname "wcx-0a1b2c3d"')]


def test_pods_reach_the_neighbours_node_ports_that_are_asked_for_alone() -> None:
    rules = chain(ASKS)
    (rule,) = [each for each in rules if each.startswith('oifname "wcx-0a1b2c3d"')]
    assert rule.endswith(f"ip saddr {OWN.pod_cidr} ip daddr {THEIRS.node_ip} tcp dport {{ 30020 }} accept")
    assert rules.index(rule) < position(rules, 'oifname "wcx-*" reject')
    assert not [each for each in rules if each.startswith('iifname "wcx-0a1b2c3d"')]


def test_the_node_itself_is_closed_to_its_neighbours() -> None:
    rules = [line.strip() for line in base_ruleset(OWN, 6443, [SERVES]).partition("chain input")[2].splitlines()]
    answers, closed, pods = (
        position(rules, text) for text in ("ct direction reply", 'iifname "wcx-*" drop', f"saddr {OWN.pod_cidr} accept")
    )
    assert answers < closed < pods
    # Plug-ins for host ports have the kernel route 127.0.0.0/8 from pods; only what comes from the node itself may.
    assert position(rules, 'iifname "lo" accept') < position(rules, "ip daddr 127.0.0.0/8 drop") < answers
    assert "policy drop" in rules[1]


@pytest.fixture
def spec(tmp_path: Path) -> HoldSpec:
    data, run = tmp_path / "data", tmp_path / "run"
    data.mkdir()
    run.mkdir()
    return HoldSpec(str(data), str(run), "g", "wcb-11223344", "wcv-11223344", str(OWN), 6443, "rules", 1.0)


def test_what_is_kept_of_neighbours_comes_back_and_becomes_rules(spec: HoldSpec) -> None:
    assert interconnect.load(spec.layout) == ()
    assert "30010" not in interconnect.ruleset(spec)
    wanted = (interconnect.Interconnect("0a1b2c3d", str(THEIRS), "/far/node", "/far/run", (30010,), (30020,)),)
    assert interconnect.save(spec.layout, wanted)
    assert not interconnect.save(spec.layout, wanted)
    assert interconnect.load(spec.layout) == wanted
    assert "30010" in interconnect.ruleset(spec)
    assert interconnect.save(spec.layout, ())
    assert interconnect.load(spec.layout) == ()


def test_a_node_that_does_not_run_joins_nobody(spec: HoldSpec) -> None:
    interconnect.save(
        spec.layout, (interconnect.Interconnect("0a1b2c3d", str(THEIRS), "/far/node", "/far/run", (30010,)),)
    )
    assert interconnect.join(spec) == ()


def test_an_interface_fits_the_kernels_limit_and_names_the_neighbour(spec: HoldSpec) -> None:
    item = interconnect.Interconnect("0a1b2c3d", str(THEIRS), "/far/node", "/far/run")
    assert item.interface == "wcx-0a1b2c3d"
    assert len(item.interface) <= 15
    assert item.layout == Layout(Path("/far/node"), Path("/far/run"))
    assert spec.cloud_id == "11223344"
