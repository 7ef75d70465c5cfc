"""Doing something as another user of the machine, in a child of the test."""

from __future__ import annotations

import encodings.idna  # noqa: F401 - the other user may not read our Python's files: whatever it needs is loaded before
import os
import pickle
import pwd
import socket
from collections.abc import Callable
from typing import TypeVar

import pytest

T = TypeVar("T")
NEEDS_ROOT = pytest.mark.skipif(os.getuid() != 0, reason="only root can become a second user")


def uid() -> int:
    """Of a user who is not the one that runs the tests."""
    return pwd.getpwnam("nobody").pw_uid


def as_second_user(act: Callable[[], T]) -> T:
    """What `act` returns, done by the second user."""
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        try:
            os.close(reader)
            os.setgroups([])
            os.setgid(uid())
            os.setuid(uid())
            os.write(writer, pickle.dumps(act()))
        finally:
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as stream:
        found: T = pickle.loads(stream.read())
    os.waitpid(child, 0)
    return found


def converse(address: tuple[str, int], text: bytes = b"hello", seconds: float = 5.0) -> str:
    """What a server at `address` answers to `text`; `reset` where it ends the connection, empty where it closes."""
    family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
    with socket.socket(family) as connection:
        connection.settimeout(seconds)
        try:
            connection.connect(address)
            connection.sendall(text)
            return connection.recv(100).decode(errors="replace")
        except (ConnectionResetError, BrokenPipeError):
            return "reset"
        except TimeoutError:
            return "silence"
