"""Any other back end, by way of the CLI: slower, and the same for all of them."""

from __future__ import annotations

import json
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from wecityctl.engine.state.checkpoint import Deployment
from wecityctl.engine.state.integrity import require_sound
from wecityctl.errors import AuthenticationError, ExitCode, WecityError
from wecityctl.model.naming import PROJECT

PROJECT_FILE = f"name: {PROJECT}\nruntime: python\ndescription: stacks of wecityctl\n"
CLI_SECONDS = 120.0


class CliStore:
    """The stacks of project `wecity` in the back end that `environment` names."""

    def __init__(self, cli: Path, url: str, environment: Mapping[str, str], secrets_provider: str) -> None:
        self._cli = cli
        self.url = url
        self.public_url = url
        self._environment = environment
        self._secrets_provider = secrets_provider
        # As listed last and changed since by this store; another run's stacks are told by the next `names`.
        self._known: set[str] | None = None

    def prepare(self) -> None:
        """Nothing to do: the back end is there or the first call says so."""

    def names(self) -> list[str]:
        """Every stack of the project."""
        found = json.loads(self._run("stack", "ls", "--json", "--project", PROJECT) or "[]")
        self._known = {str(item["name"]).rpartition("/")[2] for item in found}
        return sorted(self._known)

    def exists(self, stack: str) -> bool:
        return stack in (self._known if self._known is not None else self.names())

    def read(self, stack: str) -> tuple[Deployment | None, bytes]:
        """The stack's deployment with secrets in plain text; there are no stored bytes to see."""
        if not self.exists(stack):
            return None, b""
        return json.loads(self._run("stack", "export", "--show-secrets", "--stack", stack)).get("deployment"), b""

    def earlier(self, stack: str) -> Iterator[Deployment]:
        """Nothing: the CLI shows the present state alone."""
        return iter(())

    def sealed(self, stack: str) -> Deployment | None:
        """The stack's deployment with its secrets encrypted."""
        found: Deployment | None = json.loads(self._run("stack", "export", "--stack", stack)).get("deployment")
        return found

    def stored(self, stack: str) -> bytes:
        """Nothing: the bytes are the back end's own."""
        return b""

    def glimpse(self, stack: str) -> bytes:
        """Nothing either."""
        return b""

    def create(self, stack: str) -> None:
        """An empty stack."""
        self._run("stack", "init", "--no-select", "--secrets-provider", self._secrets_provider, stack)
        if self._known is not None:
            self._known.add(stack)

    def write(self, stack: str, deployment: Deployment) -> None:
        """Replace the state; the CLI takes the lock. Raises for a state that the engine would refuse.

        The CLI checks for itself, but only after it has written.
        """
        require_sound(stack, deployment)
        text = json.dumps({"version": 3, "deployment": deployment})
        self._run("stack", "import", "--stack", stack, text=text)

    def remove(self, stack: str) -> None:
        """Remove a stack with no resources left."""
        self._run("stack", "rm", "--yes", "--preserve-config", "--stack", stack)
        if self._known is not None:
            self._known.discard(stack)

    def history(self, stack: str, count: int = 100) -> list[dict[str, Any]]:
        """The stack's last `count` updates, newest first, with times as seconds since 1970, as they are stored."""
        pages = ("--page-size", str(count), "--page", "1")
        found = json.loads(self._run("stack", "history", "--json", *pages, "--stack", stack) or "[]")
        return [
            {**item, **{key: _seconds(item[key]) for key in ("startTime", "endTime") if key in item}} for item in found
        ]

    def prune(self, stack: str, keep: int) -> None:
        """Nothing: how long the back end keeps its history is set there."""

    def cancel(self, stack: str) -> None:
        """Break whatever lock the back end holds on the stack."""
        self._run("cancel", "--yes", "--stack", stack)

    def _run(self, *arguments: str, text: str | None = None) -> str:
        with tempfile.TemporaryDirectory(prefix="wecityctl-") as directory:
            (Path(directory) / "Pulumi.yaml").write_text(PROJECT_FILE, encoding="utf-8")
            return run_cli(self._cli, [*arguments, "--cwd", directory], self._environment, text)


def _seconds(time: str | int) -> int:
    """A time as the CLI prints it, in seconds since 1970."""
    return time if isinstance(time, int) else int(datetime.fromisoformat(time).timestamp())


def run_cli(cli: Path, arguments: Sequence[str], environment: Mapping[str, str], text: str | None = None) -> str:
    """The CLI's stdout. Raises the error that its exit code stands for."""
    try:
        done = subprocess.run(
            [str(cli), *arguments, "--non-interactive", "--color", "never"],
            env=dict(environment),
            input=text,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=CLI_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise WecityError(
            f"the state back end did not answer within {CLI_SECONDS:.0f} s", details=" ".join(arguments[:2])
        ) from error
    if done.returncode == 0:
        return done.stdout
    lines = [line.strip().removeprefix("error:").strip() for line in done.stderr.splitlines() if line.strip()]
    kind = AuthenticationError if done.returncode == ExitCode.AUTHENTICATION else WecityError
    raise kind(f"the state back end refused: {' '.join(arguments[:2])}", details="\n".join(lines[-8:]))
