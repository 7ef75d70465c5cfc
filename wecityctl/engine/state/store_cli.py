"""A store for any other back end, through the engine's CLI: slower, but works with all of them."""

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
        # The last listing, updated by this store's own changes; other runs' changes are seen by the next `names`.
        self._known: set[str] | None = None

    def prepare(self) -> None:
        """Do nothing: the first call fails if the back end does not exist."""

    def names(self) -> list[str]:
        """Return the names of all stacks of the project."""
        found = json.loads(self._run("stack", "ls", "--json", "--project", PROJECT) or "[]")
        self._known = {str(item["name"]).rpartition("/")[2] for item in found}
        return sorted(self._known)

    def exists(self, stack: str) -> bool:
        return stack in (self._known if self._known is not None else self.names())

    def read(self, stack: str) -> tuple[Deployment | None, bytes]:
        """Return the stack's deployment with secrets in plain text, and no stored bytes."""
        if not self.exists(stack):
            return None, b""
        return json.loads(self._run("stack", "export", "--show-secrets", "--stack", stack)).get("deployment"), b""

    def earlier(self, stack: str) -> Iterator[Deployment]:
        """Yield nothing: the CLI gives access only to the current state."""
        return iter(())

    def sealed(self, stack: str) -> Deployment | None:
        """Return the stack's deployment with its secrets encrypted."""
        found: Deployment | None = json.loads(self._run("stack", "export", "--stack", stack)).get("deployment")
        return found

    def stored(self, stack: str) -> bytes:
        """Return empty bytes: the CLI does not give access to the stored form."""
        return b""

    def glimpse(self, stack: str) -> bytes:
        """Return empty bytes, as `stored` does."""
        return b""

    def create(self, stack: str) -> None:
        """Create an empty stack."""
        self._run("stack", "init", "--no-select", "--secrets-provider", self._secrets_provider, stack)
        if self._known is not None:
            self._known.add(stack)

    def write(self, stack: str, deployment: Deployment) -> None:
        """Replace the state; the CLI takes the lock. Raises `WecityError` for a state that the engine would reject.

        The CLI checks the state too, but only after writing it.
        """
        require_sound(stack, deployment)
        text = json.dumps({"version": 3, "deployment": deployment})
        self._run("stack", "import", "--stack", stack, text=text)

    def remove(self, stack: str) -> None:
        """Delete a stack without resources."""
        self._run("stack", "rm", "--yes", "--preserve-config", "--stack", stack)
        if self._known is not None:
            self._known.discard(stack)

    def history(self, stack: str, count: int = 100) -> list[dict[str, Any]]:
        """Return the stack's last `count` updates, newest first, with times in seconds since 1970."""
        pages = ("--page-size", str(count), "--page", "1")
        found = json.loads(self._run("stack", "history", "--json", *pages, "--stack", stack) or "[]")
        return [
            {**item, **{key: _seconds(item[key]) for key in ("startTime", "endTime") if key in item}} for item in found
        ]

    def prune(self, stack: str, keep: int) -> None:
        """Do nothing: the back end's own settings limit its history."""

    def cancel(self, stack: str) -> None:
        """Break the back end's locks on the stack."""
        self._run("cancel", "--yes", "--stack", stack)

    def _run(self, *arguments: str, text: str | None = None) -> str:
        with tempfile.TemporaryDirectory(prefix="wecityctl-") as directory:
            (Path(directory) / "Pulumi.yaml").write_text(PROJECT_FILE, encoding="utf-8")
            return run_cli(self._cli, [*arguments, "--cwd", directory], self._environment, text)


def _seconds(time: str | int) -> int:
    """Return a time printed by the CLI in seconds since 1970."""
    return time if isinstance(time, int) else int(datetime.fromisoformat(time).timestamp())


def run_cli(cli: Path, arguments: Sequence[str], environment: Mapping[str, str], text: str | None = None) -> str:
    """Run the CLI and return its stdout. Raises the error that its exit code stands for."""
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
