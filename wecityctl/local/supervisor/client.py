"""The client of a cloud's supervisor: launch it, find the running one, send requests. Synchronous."""

from __future__ import annotations

import contextlib
import json
import os
import select
import socket
import subprocess
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wecityctl.cancellation import check, heard_by
from wecityctl.errors import DeploymentError
from wecityctl.local import logs
from wecityctl.local.proctable import Identity, is_stopped
from wecityctl.local.service import Service
from wecityctl.local.store import is_elsewhere
from wecityctl.local.supervisor.child import environment

_LAUNCH_SECONDS = 15.0
# Variables that the supervisor needs besides those of its services. It runs for weeks, so its environment must not
# contain secrets of the command that launched it.
_PASSED = ("PYTHONPATH", "PYTHONDONTWRITEBYTECODE", "TMPDIR", "XDG_CACHE_HOME", "XDG_RUNTIME_DIR", "XDG_STATE_HOME")
_ANSWER_SECONDS = 30.0


class SupervisorError(DeploymentError):
    """The supervisor could not be launched, or does not respond correctly."""


@dataclass(frozen=True, slots=True)
class Found:
    """The content of `supervisor.json`: the supervisor of the last start, and the processes that it ran."""

    supervisor: Identity
    run: Path
    children: dict[str, Identity]

    @property
    def alive(self) -> bool:
        return self.supervisor.alive()


def find(directory: Path) -> Found | None:
    """The supervisor of the cloud's last start, running or not; `None` after an orderly stop.

    Also `None` for a copied directory, because its record refers to the original's supervisor.
    """
    try:
        value = json.loads((directory / "supervisor.json").read_text())
        original = Path(value.get("directory") or directory)
        if is_elsewhere(original, directory) and _names(original, value["supervisor"]):
            return None
        children = {name: Identity.from_json(each) for name, each in value["children"].items()}
        return Found(Identity.from_json(value["supervisor"]), Path(value["run"]), children)
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError):
        # Truncated by a power failure: none of its processes can exist.
        return Found(Identity(0, 0, ""), Path("/nonexistent"), {})


def _names(directory: Path, supervisor: Any) -> bool:
    """Whether the record in `directory` refers to that supervisor."""
    try:
        return bool(json.loads((directory / "supervisor.json").read_text())["supervisor"] == supervisor)
    except (OSError, ValueError, KeyError, TypeError):
        return False


def forget(directory: Path) -> None:
    """Record that the cloud was stopped in order."""
    (directory / "supervisor.json").unlink(missing_ok=True)


def launch(directory: Path, run: Path) -> Found:
    """Start a supervisor that outlives this process; returns when its socket answers."""
    log = directory / "logs" / "supervisor.log"
    descriptor = logs.open_log(log)
    begin = logs.size(log)
    reader, writer = os.pipe()
    try:
        with subprocess.Popen(
            [sys.executable, "-P", "-m", __package__, str(directory), str(run), str(writer)],
            cwd="/",
            env=environment({name: os.environ[name] for name in _PASSED if name in os.environ}),
            stdin=subprocess.DEVNULL,
            stdout=descriptor,
            stderr=descriptor,
            pass_fds=(writer,),
            start_new_session=True,
        ):
            os.close(writer)
            writer = -1
            answer = _read_line(reader)
    finally:
        os.close(reader)
        os.close(descriptor)
        if writer >= 0:
            os.close(writer)
    found = find(directory)
    if answer != "ok" or found is None:
        raise SupervisorError(
            "the cloud's supervisor could not be started",
            details="\n".join((answer or "no answer", *logs.tail(log, since=begin))),
            resolution=f"look at {log}",
        )
    return found


def ask(found: Found, request: dict[str, Any], *, seconds: float = _ANSWER_SECONDS) -> dict[str, Any]:
    """Send a request and return its only response."""
    return next(stream(found, request, seconds=seconds))


def stream(found: Found, request: dict[str, Any], *, seconds: float) -> Iterator[dict[str, Any]]:
    """Send a request and yield its responses until the last. `seconds` limits the wait for each."""
    path = found.run / "control.sock"
    if is_stopped(found.supervisor.pid):
        # The socket of a stopped process accepts connections, but nobody would respond.
        raise SupervisorError(
            "the cloud's supervisor does not answer",
            details="its process is stopped",
            resolution="wecityctl local stop",
        )
    try:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(seconds)
            connection.connect(str(path))
            connection.sendall(json.dumps(request).encode() + b"\n")
            connection.shutdown(socket.SHUT_WR)
            with (
                heard_by(lambda reason: _end_answers(connection)),
                connection.makefile("r", encoding="utf-8") as lines,
            ):
                for line in lines:
                    value: dict[str, Any] = json.loads(line)
                    if "error" in value:
                        raise SupervisorError(f"the cloud's supervisor refused a request: {value['error']}")
                    yield value
                # Somebody who cancels the operation ends the answers.
                check()
    except (OSError, ValueError) as error:
        raise SupervisorError(
            "the cloud's supervisor does not answer", details=f"{path}: {error}", resolution="wecityctl local stop"
        ) from error


def _end_answers(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_RD)


def apply(found: Found, services: Iterable[Service]) -> tuple[str, ...]:
    """Make exactly `services` run; returns the names of those that were started or stopped."""
    request = {"do": "apply", "services": [service.to_json() for service in services]}
    return tuple(ask(found, request, seconds=120.0)["touched"])


def _read_line(descriptor: int) -> str:
    ready, _, _ = select.select([descriptor], [], [], _LAUNCH_SECONDS)
    return os.read(descriptor, 1000).decode().strip() if ready else ""
