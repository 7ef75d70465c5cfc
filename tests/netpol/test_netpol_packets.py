"""Real packets where time or translation matters: established connections, reloads, Services, a node's own traffic."""

from __future__ import annotations

import socket
import subprocess
import threading
import time
from collections.abc import Iterator

import pytest

from tests.netpol import objects, traffic
from tests.netpol.interpreter import Packet
from tests.netpol.world import Namespace, World, world
from wecityctl.local.netpol import base_ruleset
from wecityctl.local.netpol.render import cleanup, render

pytestmark = pytest.mark.node

WEB, DB, OTHER, OUT = "10.99.0.1", "10.99.0.2", "10.99.0.3", "192.0.2.10"
PODS = [
    objects.namespace("a"),
    objects.pod("a/web", WEB, {"app": "web"}),
    objects.pod("a/db", DB, {"app": "db"}),
    objects.pod("a/other", OTHER, {"app": "other"}),
]
ONLY_WEB = objects.policy(
    "a/db",
    podSelector={"matchLabels": {"app": "db"}},
    policyTypes=["Ingress", "Egress"],
    ingress=[{"from": [{"podSelector": {"matchLabels": {"app": "web"}}}]}],
)
NOBODY = objects.policy("a/db", podSelector={"matchLabels": {"app": "db"}}, policyTypes=["Ingress", "Egress"])
UNRELATED = objects.policy("a/unrelated", podSelector={"matchLabels": {"app": "none"}})


@pytest.fixture
def node() -> Iterator[World]:
    with world(WEB, DB, OTHER, OUT) as made:
        yield made


def script(*more: objects.Object) -> str:
    return render(objects.state([*PODS, *more]))


class Connection:
    """An established TCP connection between two namespaces, both ends in hand."""

    def __init__(self, client: Namespace, server: Namespace, address: str, port: int = 5432) -> None:
        with server.socket(socket.SOCK_STREAM) as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind((address, port))
            listener.listen()
            listener.settimeout(5)
            self.client = client.socket(socket.SOCK_STREAM)
            self.client.settimeout(5)
            self.client.connect((address, port))
            self.server = listener.accept()[0]
        self.server.settimeout(5)

    def says(self, text: bytes, *, back: bool = False, seconds: float = 5.0) -> bool:
        """Whether what one end says reaches the other in time."""
        sender, receiver = (self.server, self.client) if back else (self.client, self.server)
        receiver.settimeout(seconds)
        sender.send(text)
        try:
            return receiver.recv(len(text), socket.MSG_WAITALL) == text
        except TimeoutError:
            return False

    def close(self) -> None:
        self.client.close()
        self.server.close()


def ask(made: World, *packets: Packet, expect: bool) -> list[bool]:
    return list(traffic.attempt(made, packets, lambda _: expect).values())


def test_nothing_passes_before_the_first_rules_and_everything_after_cleanup(node: World) -> None:
    packets = [Packet(WEB, DB, "tcp", 80), Packet(WEB, OUT, "udp", 53), Packet(OUT, WEB, "tcp", 80)]
    node.load(base_ruleset(objects.POD_CIDR))
    assert ask(node, *packets, expect=False) == [False] * 3
    node.load(cleanup())
    assert ask(node, *packets, expect=True) == [True] * 3
    assert "wecity" not in node.node.run("nft", "list", "tables")


def test_a_pod_is_cut_off_until_it_is_known(node: World) -> None:
    known = [each for each in PODS if each["metadata"]["name"] != "other"]
    packets = [Packet(OTHER, DB, "tcp", 80), Packet(DB, OTHER, "udp", 80), Packet(OUT, OTHER, "tcp", 80)]
    node.load(render(objects.state(known)))
    assert ask(node, *packets, expect=False) == [False] * 3
    node.load(script())
    assert ask(node, *packets, expect=True) == [True] * 3


def test_the_node_reaches_its_pods_whatever_the_policies(node: World) -> None:
    deny = objects.policy("a/deny", podSelector={}, policyTypes=["Ingress", "Egress"])
    node.load(script(deny))
    node.pods["node"] = node.node
    try:
        assert ask(node, Packet("node", WEB, "tcp", 8080), expect=True) == [True]
    finally:
        del node.pods["node"]


GATEWAY_IP = "192.0.2.1"
TO_THE_NODE = objects.policy(
    "a/scrape",
    podSelector={"matchLabels": {"app": "web"}},
    policyTypes=["Egress"],
    egress=[{"to": [{"ipBlock": {"cidr": f"{GATEWAY_IP}/32"}}], "ports": [{"port": 9100}]}],
)


def test_a_pod_reaches_of_the_node_what_a_policy_names_and_nothing_else(node: World) -> None:
    """Also a pod that no policy isolates; and a policy that goes ends what it let through."""
    node.load(script(TO_THE_NODE))
    node.pods[GATEWAY_IP] = node.node
    try:
        named, *others = (
            Packet(WEB, GATEWAY_IP, "tcp", 9100),
            Packet(WEB, GATEWAY_IP, "tcp", 10250),
            Packet(WEB, GATEWAY_IP, "udp", 9100),
            Packet(OTHER, GATEWAY_IP, "tcp", 9100),
            Packet(DB, GATEWAY_IP, "udp", 53),
        )
        assert ask(node, *others, expect=False) == [False] * len(others)
        assert ask(node, named, expect=True) == [True]
        connection = Connection(node.pods[WEB], node.node, GATEWAY_IP, 9100)
        assert connection.says(b"one") and connection.says(b"two", back=True)
        node.load(script())
        assert not connection.says(b"three", seconds=0.5)
        connection.close()
    finally:
        del node.pods[GATEWAY_IP]


def test_established_connections_survive_a_reload_and_end_with_their_rule(node: World) -> None:
    node.load(script(ONLY_WEB))
    connection = Connection(node.pods[WEB], node.pods[DB], DB)
    assert connection.says(b"one") and connection.says(b"two", back=True)
    node.load(script(ONLY_WEB, UNRELATED))
    assert connection.says(b"three") and connection.says(b"four", back=True)
    node.load(script(NOBODY))
    assert not connection.says(b"five", seconds=0.5)
    # The answer of an isolated pod needs no rule, but only for a connection that is still allowed.
    assert not connection.says(b"six", back=True, seconds=0.5)
    node.load(script(ONLY_WEB))
    connection.server.settimeout(5)
    assert connection.server.recv(4, socket.MSG_WAITALL) == b"five", "TCP repeats what was held up"
    connection.close()


def test_established_udp_ends_with_its_rule_in_both_directions(node: World) -> None:
    node.load(script(ONLY_WEB))
    server, client = node.pods[DB].socket(socket.SOCK_DGRAM), node.pods[WEB].socket(socket.SOCK_DGRAM)
    with server, client:
        for each in (server, client):
            each.settimeout(5)
        server.bind((DB, 5000))
        client.connect((DB, 5000))
        client.send(b"hello")
        peer = server.recvfrom(10)[1]
        server.sendto(b"welcome", peer)
        assert client.recv(10) == b"welcome"
        node.load(script(NOBODY))
        for each in (server, client):
            each.settimeout(0.4)
        client.send(b"again")
        server.sendto(b"unasked", peer)
        for each in (server, client):
            with pytest.raises(TimeoutError):
                each.recv(10)


def test_an_answer_does_not_open_the_way_back(node: World) -> None:
    """The database may answer the web, and still not call it, on whichever port."""
    node.load(script(ONLY_WEB))
    connection = Connection(node.pods[WEB], node.pods[DB], DB)
    assert connection.says(b"query") and connection.says(b"rows", back=True)
    assert ask(node, Packet(DB, WEB, "tcp", 5432), Packet(DB, WEB, "tcp", 80), expect=False) == [False, False]
    connection.close()


def test_a_service_is_judged_by_its_pods_and_its_clients(node: World) -> None:
    """Cluster IP, node port with masquerading, and a pod that reaches itself through its own Service."""
    node.node.run("nft", "-f", "-", stdin=SERVICE)
    for each in node.pods.values():
        each.run("sh", "-c", "true")
    rules = objects.policy(
        "a/db",
        podSelector={"matchLabels": {"app": "db"}},
        policyTypes=["Ingress", "Egress"],
        ingress=[{"from": [{"podSelector": {"matchLabels": {"app": "web"}}}, {"ipBlock": {"cidr": f"{OUT}/32"}}],
                  "ports": [{"port": 5432}]}],
    )  # fmt: skip
    node.load(script(rules))
    assert _reaches(node, WEB, "10.96.0.1", 80)
    assert _reaches(node, OUT, "192.0.2.1", 30080)
    assert _reaches(node, DB, "10.96.0.1", 80), "a pod cannot be kept from itself"
    assert not _reaches(node, OTHER, "10.96.0.1", 80)
    assert not _reaches(node, OTHER, "192.0.2.1", 30080)
    out = objects.policy("a/web", podSelector={"matchLabels": {"app": "web"}}, policyTypes=["Egress"],
                         egress=[{"ports": [{"port": 80}]}])  # fmt: skip
    node.load(script(out))
    # The policy speaks of the pod's port, 5432, not of the Service's.
    assert not _reaches(node, WEB, "10.96.0.1", 80)


SERVICE = f"""table ip services {{
  chain prerouting {{
    type nat hook prerouting priority dstnat;
    ip daddr 10.96.0.1 tcp dport 80 dnat to {DB}:5432
    ip daddr 192.0.2.1 tcp dport 30080 meta mark set 0x4000 dnat to {DB}:5432
  }}
  chain postrouting {{
    type nat hook postrouting priority srcnat;
    meta mark 0x4000 masquerade
    ip saddr {DB} ip daddr {DB} masquerade
  }}
}}
"""


def _reaches(made: World, source: str, address: str, port: int) -> bool:
    """Whether the database's pod answers there."""
    with made.pods[DB].socket(socket.SOCK_STREAM) as listener, made.pods[source].socket(socket.SOCK_STREAM) as client:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("0.0.0.0", 5432))
        listener.listen()
        client.settimeout(1)
        try:
            client.connect((address, port))
        except TimeoutError:
            return False
        return True


def test_ping_goes_by_policies_and_ports_do_not_open_it(node: World) -> None:
    def ping(source: str, target: str) -> bool:
        with node.pods[source].socket(socket.SOCK_RAW, socket.IPPROTO_ICMP) as client:
            client.settimeout(0.6)
            message = bytes([8, 0, 0xF7, 0xFD, 0, 1, 0, 1])  # an echo request and its checksum
            client.sendto(message, (target, 0))
            try:
                while True:
                    if client.recv(100)[20] == 0:
                        return True
            except TimeoutError:
                return False

    only_ports = objects.policy(
        "a/other", podSelector={"matchLabels": {"app": "other"}}, ingress=[{"ports": [{"port": 8}, {"port": 1}]}]
    )
    node.load(script(ONLY_WEB, only_ports))
    assert ping(WEB, DB)
    assert not ping(OTHER, DB)
    assert not ping(WEB, OTHER)


def test_errors_about_an_allowed_connection_come_back(node: World) -> None:
    """A closed UDP port answers with ICMP, which belongs to the connection it is about."""
    deny_in = objects.policy("a/web", podSelector={"matchLabels": {"app": "web"}}, policyTypes=["Ingress"])
    node.load(script(ONLY_WEB, deny_in))
    with node.pods[WEB].socket(socket.SOCK_DGRAM) as client:
        client.settimeout(5)
        client.connect((DB, 5999))
        client.send(b"anybody?")
        with pytest.raises(ConnectionRefusedError):
            client.recv(10)


def test_reloads_under_traffic_lose_no_connection_and_open_nothing(node: World) -> None:
    """New connections all the time and one long stream, while the rules are replaced forty times."""
    variants = [script(ONLY_WEB), script(ONLY_WEB, UNRELATED)]
    node.load(variants[0])
    stream = Connection(node.pods[WEB], node.pods[DB], DB, 7000)
    ended, failures, leaks = threading.Event(), [], []
    opened = 0
    with node.pods[DB].socket(socket.SOCK_STREAM) as listener:
        listener.bind((DB, 5432))
        # The queue must not overflow: a first packet that the listener drops looks like one that the rules dropped.
        listener.listen(4096)
        listener.settimeout(0.2)

        def accept() -> None:
            while not ended.is_set():
                try:
                    listener.accept()[0].close()
                except TimeoutError:
                    continue

        def intrude() -> None:
            while not ended.is_set():
                with node.pods[OTHER].socket(socket.SOCK_STREAM) as client:
                    client.settimeout(0.05)
                    try:
                        client.connect((DB, 5432))
                        leaks.append(time.monotonic())
                    except TimeoutError:
                        continue

        def reload() -> None:
            for number in range(40):
                node.load(variants[number % 2])
            ended.set()

        threads = [threading.Thread(target=each, daemon=True) for each in (accept, intrude, reload)]
        for each in threads:
            each.start()
        while not ended.is_set():
            with node.pods[WEB].socket(socket.SOCK_STREAM) as client:
                # A lost first packet would be sent again after a second only.
                client.settimeout(0.9)
                try:
                    client.connect((DB, 5432))
                    opened += 1
                except TimeoutError:
                    failures.append(opened)
            assert stream.says(b"tick") and stream.says(b"tock", back=True)
        for each in threads:
            each.join()
    stream.close()
    assert opened > 40 and failures == [] and leaks == []


def test_a_bad_script_changes_nothing(node: World) -> None:
    node.load(script(ONLY_WEB))
    before = node.node.run("nft", "list", "ruleset")
    done = subprocess.run(
        ["nsenter", f"--net=/proc/{node.node.pid}/ns/net", "nft", "-f", "-"],
        input=script().replace("vmap @ingress-pods", "vmap @missing"), text=True, capture_output=True, timeout=20,
    )  # fmt: skip
    assert done.returncode != 0
    assert node.node.run("nft", "list", "ruleset") == before
