"""Reading objects and records: what makes no sense closes, who has an address is never guessed."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.netpol import interpreter, objects
from tests.netpol.interpreter import Packet
from wecityctl.local.netpol import base_ruleset, parse
from wecityctl.local.netpol.model import Record, State
from wecityctl.local.netpol.placing import place
from wecityctl.local.netpol.records import Records
from wecityctl.local.netpol.render import render


@pytest.mark.parametrize(
    "spec",
    [
        {"podSelector": {"matchExpressions": [{"key": "a", "operator": "Near"}]}},
        {"podSelector": {"matchLabels": {"app": "x"}}, "ingress": [{"from": [{}]}]},
        {"podSelector": {"matchLabels": {"app": "x"}}, "ingress": [{"from": [{"ipBlock": {"cidr": "10.0.0.0/99"}}]}]},
        {"podSelector": {"matchLabels": {"app": "x"}}, "ingress": [{"ports": [{"port": 1, "protocol": "ESP"}]}]},
        {"podSelector": {"matchLabels": {"app": "x"}}, "ingress": [{"ports": [{"port": 9, "endPort": 8}]}]},
        {"podSelector": {"matchLabels": {"app": "x"}}, "ingress": [{"ports": [{"port": 70000}]}]},
        {"podSelector": {"matchLabels": {"app": "x"}}, "ingress": "all"},
    ],
)
def test_a_policy_without_sense_closes_its_namespace(spec: dict[str, Any]) -> None:
    said: list[str] = []
    found = parse.policy(objects.policy("a/broken", **spec), said.append)
    assert found.selector.matches({}) and found.ingress == () and found.egress == ()
    assert len(said) == 1 and said[0].startswith("NetworkPolicy a/broken: cannot be understood")


def test_ipv6_blocks_are_ignored_and_named() -> None:
    said: list[str] = []
    spec = {"podSelector": {}, "ingress": [{"from": [{"ipBlock": {"cidr": "2001:db8::/32"}}]}]}
    parse.policy(objects.policy("a/six", **spec), said.append)
    assert said == ["NetworkPolicy a/six: ipBlock 2001:db8::/32 is ignored: pods of the embedded cloud have no IPv6"]


def test_sidecars_ports_count_and_other_init_containers_do_not() -> None:
    pod = objects.pod("a/p", "10.99.0.1", ports={"http": 80})
    pod["spec"]["initContainers"] = [
        {"name": "sidecar", "restartPolicy": "Always", "ports": [{"name": "admin", "containerPort": 81}]},
        {"name": "setup", "ports": [{"name": "setup", "containerPort": 82}]},
    ]
    found = parse.pod(pod)
    assert found is not None and [each.name for each in found.ports] == ["http", "admin"]


def test_before_anything_is_known_every_pod_packet_is_dropped() -> None:
    rules = interpreter.read(base_ruleset("10.99.0.0/16"))
    assert not rules.allows(Packet("10.99.0.1", "192.0.2.1", "tcp", 80))
    assert not rules.allows(Packet("192.0.2.1", "10.99.0.1", "tcp", 80))
    assert not rules.allows(Packet("10.99.0.1", "10.99.0.1", "tcp", 80))


def _state(pods: list[objects.Object], records: list[Record]) -> State:
    known = objects.state([objects.namespace("a"), *pods])
    return State(known.pod_cidr, known.namespaces, known.pods, known.policies, tuple(records))


def _record(container: str, name: str, address: str, *, uid: str = "", written: int = 0) -> Record:
    return Record(container, "a", name, uid or f"uid-a-{name}", parse.addresses([address]), written)


def _placed(state: State) -> dict[str, str]:
    import ipaddress

    return {str(ipaddress.IPv4Address(address)): pod.name for address, pod in place(state).local.items()}


def test_records_go_before_status() -> None:
    pods = [objects.pod("a/early", ""), objects.pod("a/late", "10.99.0.9")]
    state = _state(pods, [_record("c1", "early", "10.99.0.1/16")])
    assert _placed(state) == {"10.99.0.1": "early"}
    assert place(state).containers == {"c1"}


def test_a_record_counts_for_its_very_pod_alone() -> None:
    pods = [objects.pod("a/recreated", ""), objects.pod("a/done", "10.99.0.2", phase="Failed")]
    records = [
        _record("c1", "recreated", "10.99.0.1", uid="uid-of-its-predecessor"),
        _record("c2", "done", "10.99.0.2"),
        _record("c3", "nobody", "10.99.0.3"),
        _record("c4", "recreated", "203.0.113.1"),
    ]
    assert _placed(_state(pods, records)) == {}


def test_an_address_given_anew_is_the_new_ones_even_before_that_is_known() -> None:
    old = _record("c1", "old", "10.99.0.1", written=1)
    new = _record("c0", "new", "10.99.0.1", written=2)
    assert _placed(_state([objects.pod("a/old", ""), objects.pod("a/new", "")], [new, old])) == {"10.99.0.1": "new"}
    assert _placed(_state([objects.pod("a/old", "")], [new, old])) == {}


def test_by_status_the_one_that_stays_has_the_address() -> None:
    pods = [objects.pod("a/old", "10.99.0.1", leaving=True), objects.pod("a/new", "10.99.0.1")]
    assert _placed(objects.state(pods)) == {"10.99.0.1": "new"}


def test_records_are_read_as_they_come_and_go(tmp_path: Path) -> None:
    records = Records(tmp_path / "records")
    assert not records.look() and records.all == ()
    content = {"container": "c1", "namespace": "a", "name": "p", "uid": "u", "addresses": ["10.99.0.1/16"]}
    directory = tmp_path / "records"
    directory.mkdir()
    (directory / ".c1").write_text("half")
    (directory / "torn").write_text("{")
    (directory / "c1").write_text(json.dumps(content))
    assert records.look() and not records.look()
    assert [(each.container, each.addresses) for each in records.all] == [("c1", parse.addresses(["10.99.0.1"]))]
    (directory / "c1").unlink()
    assert records.look() and records.all == ()


def test_the_agent_loads_nothing_heavy() -> None:
    program = "import sys, wecityctl.local.netpol.__main__; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    heavy = {"pydantic", "pulumi", "grpc", "typer", "rich", "jinja2", "cryptography"}
    assert not heavy & set(done.stdout.split())


def test_long_names_make_a_valid_script() -> None:
    place = f"{'n' * 63}/{'p' * 253}"
    pod = objects.pod(f"{'n' * 63}/p", "10.99.0.1")
    policy = objects.policy(place, podSelector={}, policyTypes=["Ingress", "Egress"])
    script = render(objects.state([objects.namespace("n" * 63), pod, policy]))
    assert max(map(len, script.split())) < 128
