"""Ports: free, kept, moved when taken, never from the range of outgoing connections."""

from __future__ import annotations

import socket
from pathlib import Path

from wecityctl.local import ports

LOOPBACK = {"api": "127.0.0.1", "scheduler": "127.0.0.1"}


def test_new_ports_are_free_and_different() -> None:
    chosen = ports.choose("seed", LOOPBACK, {}, ())
    assert len(set(chosen.values())) == 2
    assert all(ports.FIRST <= port <= ports.LAST for port in chosen.values())
    assert all(ports.is_free("127.0.0.1", port) for port in chosen.values())


def test_the_same_seed_finds_the_same_ports_and_another_others() -> None:
    assert ports.choose("a", LOOPBACK, {}, ()) == ports.choose("a", LOOPBACK, {}, ())
    assert ports.choose("a", LOOPBACK, {}, ()) != ports.choose("b", LOOPBACK, {}, ())


def test_saved_ports_stay() -> None:
    saved = ports.choose("elsewhere", LOOPBACK, {}, ())
    assert ports.choose("seed", LOOPBACK, saved, ()) == saved


def test_only_the_port_somebody_took_moves() -> None:
    saved = ports.choose("seed", LOOPBACK, {}, ())
    with socket.create_server(("127.0.0.1", saved["api"])):
        assert not ports.is_free("127.0.0.1", saved["api"])
        moved = ports.choose("seed", LOOPBACK, saved, ())
    assert moved["scheduler"] == saved["scheduler"]
    assert moved["api"] not in saved.values()


def test_ports_of_other_clouds_are_left_alone() -> None:
    first = ports.choose("seed", LOOPBACK, {}, ())
    second = ports.choose("seed", LOOPBACK, {}, first.values())
    assert not set(first.values()) & set(second.values())


def test_an_address_that_does_not_exist_yet_has_free_ports() -> None:
    assert ports.is_free("203.0.113.7", 20001)


def test_the_kernel_never_takes_these_ports_for_outgoing_connections() -> None:
    low = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    assert low > ports.LAST
