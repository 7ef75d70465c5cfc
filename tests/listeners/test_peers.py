"""Whose a connection is, by both of the kernel's tables."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable

import pytest

from tests.listeners.second_user import NEEDS_ROOT, uid
from wecityctl.listeners import peers
from wecityctl.listeners.peers import Address

pytestmark = pytest.mark.skipif(not peers.can_tell(), reason="this kernel does not tell")


@pytest.fixture(params=["sock_diag", "/proc/net/tcp"], autouse=True)
def table(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(*_: object) -> None:
        raise OSError

    if request.param != "sock_diag":
        monkeypatch.setattr(peers, "_ask", missing)


def connected(family: int, host: str, target: str, *, is_dual: bool = False) -> tuple[socket.socket, socket.socket]:
    """Both ends of a connection: the client's and the server's."""
    server = socket.create_server((host, 0), family=family, dualstack_ipv6=is_dual)
    client = socket.create_connection((target, server.getsockname()[1]))
    accepted, _ = server.accept()
    server.close()
    return client, accepted


def owner(accepted: socket.socket) -> int | None:
    return peers.owner_of_peer(Address.of(*accepted.getsockname()[:2]), Address.of(*accepted.getpeername()[:2]))


KINDS: list[Callable[[], tuple[socket.socket, socket.socket]]] = [
    lambda: connected(socket.AF_INET, "127.0.0.1", "127.0.0.1"),
    lambda: connected(socket.AF_INET6, "::1", "::1"),
    lambda: connected(socket.AF_INET6, "::", "127.0.0.1", is_dual=True),
]


@pytest.mark.parametrize("kind", KINDS)
def test_an_open_connection_has_its_owner(kind: Callable[[], tuple[socket.socket, socket.socket]]) -> None:
    client, accepted = kind()
    with client, accepted:
        assert owner(accepted) == os.getuid()


@NEEDS_ROOT
@pytest.mark.parametrize("kind", KINDS)
def test_another_user_is_told(kind: Callable[[], tuple[socket.socket, socket.socket]]) -> None:
    client, accepted = kind()
    with client, accepted:
        # What a socket belongs to is set when it is made; its owner may give it away.
        os.fchown(client.fileno(), uid(), -1)
        assert owner(accepted) == uid()


@pytest.mark.parametrize("kind", KINDS)
def test_who_has_closed_is_nobody(kind: Callable[[], tuple[socket.socket, socket.socket]]) -> None:
    client, accepted = kind()
    with accepted:
        local, remote = accepted.getsockname()[:2], accepted.getpeername()[:2]
        client.close()
        assert peers.owner_of_peer(Address.of(*local), Address.of(*remote)) is None


def test_a_listener_on_the_peers_port_is_not_the_peer() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        here = Address.of(*server.getsockname())
        assert peers.owner_of_peer(Address.of("127.0.0.1", 1), here) is None


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0"])
def test_a_listener_is_known_by_its_address_and_its_process(host: str) -> None:
    with socket.create_server((host, 0)) as server:
        found = peers.listener(Address.of("127.0.0.1", server.getsockname()[1]))
        assert found is not None and found.uid == os.getuid()
        assert peers.holds(os.getpid(), found.inode)
        assert not peers.holds(os.getppid(), found.inode)
        port = server.getsockname()[1]
    assert peers.listener(Address.of("127.0.0.1", port)) is None


def test_a_connections_port_does_not_listen() -> None:
    client, accepted = KINDS[0]()
    with client, accepted:
        assert peers.listener(Address.of(*client.getsockname())) is None


@pytest.mark.parametrize("host", ["localhost", "", "127.0.0"])
def test_what_is_no_address_is_refused(host: str) -> None:
    with pytest.raises(ValueError, match="not an IP address"):
        Address.of(host, 1)
