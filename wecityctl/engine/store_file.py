"""The self-managed back end in a local directory, read and written without starting a CLI.

Layout: pulumi/pkg backend/diy, version 1 (stacks by project). The engine itself writes states through its CLI.
"""

from __future__ import annotations

import errno
import gzip
import json
import re
import shutil
from collections.abc import Iterator
from contextlib import suppress
from itertools import chain
from pathlib import Path
from typing import Any

from wecityctl.engine.integrity import require_sound
from wecityctl.engine.state import Deployment, deployment_in
from wecityctl.errors import DeploymentError, WecityError
from wecityctl.model.fileurl import file_url
from wecityctl.model.naming import PROJECT
from wecityctl.paths import private_dir, write_private

META = b"version: 1\n"
_END_OF_UPDATE = re.compile(r"(\.history|\.checkpoint)?\.json(\..*)?$")


class FileStore:
    """The stacks of project `wecity` below a directory."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._stacks = root / ".pulumi" / "stacks" / PROJECT

    @property
    def url(self) -> str:
        """The back end for our own CLIs: no attribute files beside the states, no temporary files elsewhere."""
        return f"{self.public_url}?metadata=skip&no_tmp_dir=true"

    @property
    def public_url(self) -> str:
        """The back end as a user writes it."""
        return file_url(self.root)

    def prepare(self) -> None:
        """Make the directory a back end if it is none yet."""
        private_dir(self.root)
        meta = self.root / ".pulumi" / "meta.yaml"
        if not meta.exists():
            write_private(meta, META)
        private_dir(self._stacks)

    def names(self) -> list[str]:
        """Every stack of the project."""
        found = {path.name.partition(".json")[0] for path in self._stacks.glob("*.json")}
        return sorted(found | {path.name.partition(".json")[0] for path in self._stacks.glob("*.json.gz")})

    def exists(self, stack: str) -> bool:
        return self._path(stack) is not None

    def read(self, stack: str) -> tuple[Deployment | None, bytes]:
        """The stack's deployment and the bytes it is stored as; both empty for a stack that is not there."""
        path = self._path(stack)
        if path is None:
            return None, b""
        try:
            stored = path.read_bytes()
            text = gzip.decompress(stored) if path.suffix == ".gz" else stored
            return deployment_in(text), stored
        except (ValueError, OSError) as error:
            raise WecityError(
                f"the state of {stack} cannot be read",
                details=f"{path}: {error}",
                resolution=f"look at {path}.bak, the engine's copy of the state before it",
            ) from error

    def earlier(self, stack: str) -> Iterator[Deployment]:
        """Earlier states of the stack, the newest first: the engine's copy beside it, and one for each update."""
        path = self._path(stack)
        history = self.root / ".pulumi" / "history" / PROJECT / stack
        copies = sorted(history.glob("*.checkpoint.json*"), reverse=True)
        for each in [*([path.with_name(f"{path.name}.bak")] if path is not None else []), *copies]:
            with suppress(OSError, ValueError):
                data = each.read_bytes()
                text = gzip.decompress(data) if ".gz" in each.suffixes else data
                yield deployment_in(text) or {}

    def sealed(self, stack: str) -> Deployment | None:
        """The stack's deployment with its secrets encrypted."""
        return self.read(stack)[0]

    def stored(self, stack: str) -> bytes:
        """The stack's state as stored, unread; empty for none."""
        path = self._path(stack)
        return path.read_bytes() if path is not None else b""

    def create(self, stack: str) -> None:
        """An empty stack, as the CLI itself begins one."""
        self.prepare()
        self._write(stack, {"stack": f"organization/{PROJECT}/{stack}"})

    def write(self, stack: str, deployment: Deployment) -> None:
        """Replace the state. Only with the stack's lock held. Raises for a state that the engine would refuse."""
        require_sound(stack, deployment)
        self._write(stack, {"stack": f"organization/{PROJECT}/{stack}", "latest": deployment})

    def _write(self, stack: str, checkpoint: dict[str, Any]) -> None:
        text = json.dumps({"version": 3, "checkpoint": checkpoint}, ensure_ascii=False, separators=(",", ":"))
        path = self._path(stack) or self._stacks / f"{stack}.json"
        data = text.encode()
        try:
            write_private(path, gzip.compress(data) if path.suffix == ".gz" else data)
        except OSError as error:
            raise disk_error(error, path) from error

    def remove(self, stack: str) -> None:
        """Remove a stack and what the engine keeps about it. Only for stacks with no resources left."""
        for path in self._stacks.glob(f"{stack}.json*"):
            path.unlink(missing_ok=True)
        for area in ("history", "backups"):
            shutil.rmtree(self.root / ".pulumi" / area / PROJECT / stack, ignore_errors=True)
        for path in (self.record(stack), self.lock_record(stack)):
            path.unlink(missing_ok=True)

    def prune(self, stack: str, keep: int) -> None:
        """Remove what the engine has kept of updates before the last `keep`: records, checkpoints, copies of states."""
        for area in ("history", "backups"):
            updates: dict[str, list[Path]] = {}
            for path in sorted((self.root / ".pulumi" / area / PROJECT / stack).glob("*.json*")):
                # The parts of an update have one name but for their end.
                updates.setdefault(_END_OF_UPDATE.sub("", path.name), []).append(path)
            for path in chain.from_iterable(list(updates.values())[:-keep]):
                path.unlink(missing_ok=True)

    def history(self, stack: str, count: int | None = None) -> list[dict[str, Any]]:
        """The stack's last `count` updates (`None`: all), newest first, as the engine recorded them."""
        directory = self.root / ".pulumi" / "history" / PROJECT / stack
        entries = []
        for path in sorted(directory.glob("*.history.json*"), reverse=True)[:count]:
            data = path.read_bytes()
            entries.append(json.loads(gzip.decompress(data) if path.suffix == ".gz" else data))
        return entries

    def lock_directory(self, stack: str) -> Path:
        """Where the engine puts its locks on the stack."""
        return self.root / ".pulumi" / "locks" / "organization" / PROJECT / stack

    def record(self, stack: str) -> Path:
        """Where our record of the stack lies."""
        return self.root / ".wecity" / "records" / f"{stack}.json"

    def activity_log(self, city: str) -> Path:
        """Where it lies what runs have done to a city that is in no history of the engine."""
        return self.root / ".wecity" / "history" / f"{city}.jsonl"

    def lock_record(self, stack: str) -> Path:
        """Where the owner of the engine's lock is noted."""
        return self.root / ".wecity" / "locks" / f"{stack}.json"

    def city_lock(self, city: str) -> Path:
        """The file whose lock a changing run on the city holds."""
        return self.root / ".wecity" / "locks" / f"{city}.run"

    def _path(self, stack: str) -> Path | None:
        for suffix in (".json", ".json.gz"):
            path = self._stacks / f"{stack}{suffix}"
            if path.is_file():
                return path
        return None


def disk_error(error: OSError, path: Path) -> WecityError:
    """The error for a state that cannot be written."""
    full = error.errno in (errno.ENOSPC, errno.EDQUOT)
    return DeploymentError(
        "the disk is full" if full else "the state cannot be written",
        details=f"{path}: {error.strerror}",
        resolution="make room and run again: the state from before is kept" if full else "",
    )
