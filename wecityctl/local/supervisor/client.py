"""Talking to a cloud's supervisor: launching it, finding the one that runs, asking it. Synchronous."""

from __future__ import annotations

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

from wecityctl.errors import DeploymentError
from wecityctl.local import logs
from wecityctl.local.proctable import Identity, is_stopped
from wecityctl.local.service import Service
from wecityctl.local.store import is_elsewhere
from wecityctl.local.supervisor.child import environment

_LAUNCH_SECONDS = 15.0
# What the supervisor needs besides what its services get. It lives for weeks: nothing secret of this command's stays
# in its environment.
_PASSED = ("PYTHONPATH", "PYTHONDONTWRITEBYTECODE", "TMPDIR", "XDG_CACHE_HOME", "XDG_RUNTIME_DIR", "XDG_STATE_HOME")
_ANSWER_SECONDS = 30.0


class SupervisorError(DeploymentError):
    """The supervisor could not be launched, or does not answer as it should."""


@dataclass(frozen=True, slots=True)
class Found:
    """What `supervisor.json` tells: the supervisor of the last start and the processes it ran."""

    supervisor: Identity
    run: Path
    children: dict[str, Identity]

    @property
    def alive(self) -> bool:
        return self.supervisor.alive()


def find(directory: Path) -> Found | None:
    """The supervisor of the cloud's last start, alive or not; None after an orderly stop.

    A copied directory has the record of the original's supervisor, which is none of its own: None for that too.
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
        # Cut short by a power cut: nothing of it can be alive.
        return Found(Identity(0, 0, ""), Path("/nonexistent"), {})


def _names(directory: Path, supervisor: Any) -> bool:
    """Whether the record in `directory` names that supervisor."""
    try:
        return bool(json.loads((directory / "supervisor.json").read_text())["supervisor"] == supervisor)
    except (OSError, ValueError, KeyError, TypeError):
        return False


def forget(directory: Path) -> None:
    """Record that the cloud was stopped in order."""
    (directory / "supervisor.json").unlink(missing_ok=True)


def launch(directory: Path, run: Path) -> Found:
    """Start a supervisor that outlives this process; returns once its socket answers."""
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
    """One request with one answer."""
    return next(stream(found, request, seconds=seconds))


def stream(found: Found, request: dict[str, Any], *, seconds: float) -> Iterator[dict[str, Any]]:
    """A request and its answers, to the last. `seconds` bound the wait for each of them."""
    path = found.run / "control.sock"
    if is_stopped(found.supervisor.pid):
        # Its socket would accept, and nobody ever answer.
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
            with connection.makefile("r", encoding="utf-8") as lines:
                for line in lines:
                    value: dict[str, Any] = json.loads(line)
                    if "error" in value:
                        raise SupervisorError(f"the cloud's supervisor refused a request: {value['error']}")
                    yield value
    except (OSError, ValueError) as error:
        raise SupervisorError(
            "the cloud's supervisor does not answer", details=f"{path}: {error}", resolution="wecityctl local stop"
        ) from error


def apply(found: Found, services: Iterable[Service]) -> tuple[str, ...]:
    """Have exactly `services` run; the names of those that were started or stopped for it."""
    request = {"do": "apply", "services": [service.to_json() for service in services]}
    return tuple(ask(found, request, seconds=120.0)["touched"])


def _read_line(descriptor: int) -> str:
    ready, _, _ = select.select([descriptor], [], [], _LAUNCH_SECONDS)
    return os.read(descriptor, 1000).decode().strip() if ready else ""
