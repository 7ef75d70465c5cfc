"""The real Pulumi engine with a provider server beside it: inline programs through the Automation API."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.support.control_plane import binary
from tests.support.processes import matching
from wecityctl.local.proctable import Identity
from wecityctl.provider.server import ProviderServer


class ServerThread:
    """A provider server in a thread and loop of its own, as inline programs block theirs."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._server = ProviderServer()
        self._do(self._server.__aenter__())

    def open(self, name: str) -> int:
        return int(self._do(self._server.open(name)))

    def cancel(self, port: int) -> None:
        self._loop.call_soon_threadsafe(self._server.cancel, port)

    def close(self) -> None:
        self._do(self._server.__aexit__(None, None, None))
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    def _do(self, work: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(30)


_PORTS = "PULUMI_DEBUG_PROVIDERS"


@dataclass
class Stack:
    """One stack with an inline program that may be changed between runs."""

    program: Callable[[], object]
    automation: Any
    output: list[str] = field(default_factory=list)
    open_port: Callable[[], int] | None = None

    def preview(self, **options: Any) -> dict[str, int]:
        return {
            str(getattr(k, "value", k)): v
            for k, v in self._run(self.automation.preview, options).change_summary.items()
        }

    def up(self, **options: Any) -> dict[str, int]:
        return dict(self._run(self.automation.up, options).summary.resource_changes or {})

    def refresh(self, **options: Any) -> dict[str, int]:
        return dict(self._run(self.automation.refresh, options).summary.resource_changes or {})

    def destroy(self, **options: Any) -> dict[str, int]:
        return dict(self._run(self.automation.destroy, options).summary.resource_changes or {})

    def resources(self) -> dict[str, dict[str, Any]]:
        """What the state holds, by logical name."""
        found = self.automation.export_stack().deployment.get("resources", [])
        return {r["urn"].rsplit("::", 1)[-1]: r for r in found}

    @property
    def said(self) -> str:
        """The last run's output."""
        return "".join(f"{line}\n" for line in self.output)

    def _run(self, operation: Callable[..., Any], options: dict[str, Any]) -> Any:
        self.output.clear()
        if self.open_port is not None:
            self.automation.workspace.env_vars[_PORTS] = f"kubernetes:{self.open_port()}"
        return operation(on_output=self.output.append, color="never", **options)


@contextmanager
def environment(directory: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A Pulumi home, state and passphrase of one's own; the engine from the parts cache."""
    state = directory / "state"
    state.mkdir()
    for name, value in {
        "PULUMI_HOME": str(directory / "home"),
        "PULUMI_BACKEND_URL": f"file://{state}",
        "PULUMI_CONFIG_PASSPHRASE": "test",
        "PULUMI_SKIP_UPDATE_CHECK": "true",
        "PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION": "true",
    }.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("PATH", str(binary("pulumi").parent), prepend=":")
    yield


def make_stack(
    name: str, program: Callable[[], object], port: int | Callable[[], int] | None, project: str = "proj"
) -> Stack:
    """A stack whose Kubernetes provider listens on `port` (None: the engine starts the plug-in by itself).

    With a function, each run has a port of its own, as runs of the program have: what one has made is news to the next.
    """
    from pulumi import automation

    holder: list[Stack] = []

    def run() -> None:
        holder[0].program()

    variables = {_PORTS: f"kubernetes:{port}"} if isinstance(port, int) else {}
    options = automation.LocalWorkspaceOptions(env_vars=variables)
    made = automation.create_or_select_stack(name, project, run, opts=options)
    holder.append(Stack(program, made, open_port=port if callable(port) else None))
    return holder[0]


def engines_of(home: Path) -> list[Identity]:
    """The processes of `pulumi up` that work for this test."""

    def works(entry: Path) -> bool:
        words = (entry / "cmdline").read_bytes().split(b"\0")
        ours = str(home).encode() in (entry / "environ").read_bytes()
        return ours and words[0].endswith(b"pulumi") and b"up" in words

    return matching(works)
