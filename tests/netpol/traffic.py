"""Real connections between the namespaces of a world, many at a time: who gets an answer, and who does not."""

from __future__ import annotations

import contextlib
import selectors
import socket
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from tests.netpol.interpreter import Packet
from tests.netpol.world import World

# An allowed connection may be slow on a busy machine; a denied one is given this long after all others are done.
_PATIENCE = 8.0
_SILENCE = 0.4
_KINDS = {"tcp": (socket.SOCK_STREAM, 0), "udp": (socket.SOCK_DGRAM, 0), "sctp": (socket.SOCK_STREAM, 132)}


@dataclass
class Attempt:
    """A client's socket, and whether it has been answered."""

    packet: Packet
    socket: socket.socket
    answered: bool = False


def attempt(world: World, packets: Iterable[Packet], expected: Callable[[Packet], bool]) -> dict[Packet, bool]:
    """Connect all at once to servers made for it; True for those that were answered with what they had sent.

    `expected` only says how long to wait for which.
    """
    packets = list(packets)
    with contextlib.ExitStack() as stack, selectors.DefaultSelector() as selector:
        for address, protocol, port in {(p.destination, p.protocol, p.port) for p in packets}:
            kind, number = _KINDS[protocol]
            server = stack.enter_context(world.pods[address].socket(kind, number))
            server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            server.bind(("0.0.0.0", port))
            if protocol != "udp":
                server.listen(64)
            selector.register(server, selectors.EVENT_READ, _Server(protocol, stack))
        attempts = [_start(world, stack, packet) for packet in packets]
        for each in attempts:
            selector.register(each.socket, selectors.EVENT_READ | selectors.EVENT_WRITE, each)
        deadline, quiet = time.monotonic() + _PATIENCE, 0.0
        while time.monotonic() < deadline:
            for event, mask in selector.select(0.05):
                _serve(selector, event.fileobj, event.data, mask)  # type: ignore[arg-type]
            if all(each.answered for each in attempts if expected(each.packet)):
                quiet = quiet or time.monotonic()
                if all(each.answered for each in attempts) or time.monotonic() - quiet > _SILENCE:
                    break
        return {each.packet: each.answered for each in attempts}


@dataclass
class _Server:
    protocol: str
    stack: contextlib.ExitStack


def _start(world: World, stack: contextlib.ExitStack, packet: Packet) -> Attempt:
    kind, number = _KINDS[packet.protocol]
    client = stack.enter_context(world.pods[packet.source].socket(kind, number))
    client.connect_ex((packet.destination, packet.port))
    return Attempt(packet, client)


def _serve(selector: selectors.BaseSelector, sock: socket.socket, data: object, mask: int) -> None:
    if isinstance(data, Attempt):
        _client(selector, sock, data, mask)
    elif isinstance(data, _Server) and data.protocol == "udp":
        with contextlib.suppress(OSError):
            content, peer = sock.recvfrom(100)
            sock.sendto(content, peer)
    elif isinstance(data, _Server):
        connection = data.stack.enter_context(sock.accept()[0])
        connection.setblocking(False)
        selector.register(connection, selectors.EVENT_READ, None)
    else:
        try:
            content = sock.recv(100)
            sock.send(content) if content else selector.unregister(sock)
        except OSError:
            selector.unregister(sock)


def _client(selector: selectors.BaseSelector, sock: socket.socket, data: Attempt, mask: int) -> None:
    try:
        if mask & selectors.EVENT_READ and sock.recv(100) == b"ping":
            data.answered = True
            selector.unregister(sock)
        elif mask & selectors.EVENT_WRITE:
            sock.send(b"ping")
            selector.modify(sock, selectors.EVENT_READ, data)
    except OSError:
        selector.unregister(sock)
