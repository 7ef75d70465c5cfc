"""An address of this machine for servers that programs do not reach on the loopback device."""

from __future__ import annotations

import socket

import pytest


def own_address() -> str:
    """An address of this machine that is not the loopback device's, which no server outside the city may
    have. Nothing is sent."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
        except OSError:
            pytest.skip("this machine has no address but that of the loopback device")
        return str(probe.getsockname()[0])
