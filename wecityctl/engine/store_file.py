"""The self-managed back end in a local directory, read and written without starting a CLI.

Layout: pulumi/pkg backend/diy, version 1 (stacks by project). While the engine runs, its journal lies beside the state;
what is read here is the state after that journal.
"""

from __future__ import annotations

import errno
import gzip
import hashlib
import json
import re
import shutil
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any

from wecityctl.engine.integrity import flaw, require_sound
from wecityctl.engine.moved import Mark, read_mark
from wecityctl.engine.state import Deployment, deployment_in, deployment_of
from wecityctl.errors import DeploymentError, WecityError
from wecityctl.journal.log import Journal, conclude, read_journal
from wecityctl.journal.replay import JournalError, Rebuilt, replay
from wecityctl.model.fileurl import file_url
from wecityctl.model.naming import PROJECT
from wecityctl.paths import private_dir, write_private

META = b"version: 1\n"
_END_OF_UPDATE = re.compile(r"(\.history|\.checkpoint)?\.json(\..*)?$")


_GZIP = b"\x1f\x8b"


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A stack's whole state, empty before the first run. `version` and `features` are those of its format."""

    deployment: Deployment = field(repr=False)
    version: int = 3
    features: tuple[str, ...] = ()


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

    def mark(self, key: str) -> Mark | None:
        """The mark of a move that lies here under `key`. Raises `OSError`."""
        try:
            return read_mark((self.root / key).read_bytes())
        except FileNotFoundError:
            return None

    def names(self) -> list[str]:
        """Every stack of the project."""
        found = {path.name.partition(".json")[0] for path in self._stacks.glob("*.json")}
        return sorted(found | {path.name.partition(".json")[0] for path in self._stacks.glob("*.json.gz")})

    def exists(self, stack: str) -> bool:
        return self.path(stack) is not None

    def read(self, stack: str) -> tuple[Deployment | None, bytes]:
        """The stack's deployment and the bytes it is stored as; both empty for a stack that is not there."""
        if not self.exists(stack):
            return None, b""
        stored = self.stored(stack)
        return deployment_of(self._document(stack, stored)), stored

    def _document(self, stack: str, stored: bytes) -> dict[str, Any]:
        return checkpoint_in(stored, stack, str(self.path(stack)))

    def alone(self, stack: str) -> Deployment | None:
        """The deployment as it lies there, whatever a journal adds. Raises `WecityError` for a damaged one."""
        path = self.path(stack)
        return deployment_of(self._document(stack, path.read_bytes())) if path is not None else None

    @staticmethod
    def opened(stored: bytes) -> Deployment | None:
        """The deployment in a state as it is stored. Raises `ValueError`."""
        return deployment_in(unpacked(stored))

    def put(self, stack: str, stored: bytes) -> None:
        """Replace the state by one that was stored before. Only with the stack's lock held."""
        before, name = self.path(stack), f"{stack}.json.gz" if stored.startswith(_GZIP) else f"{stack}.json"
        self._put(self._stacks / name, stored)
        if before is not None and before.name != name:
            before.unlink(missing_ok=True)

    def earlier(self, stack: str) -> Iterator[Deployment]:
        """Earlier states of the stack, the newest first: the engine's copy beside it, and one for each update."""
        path = self.path(stack)
        history = self.root / ".pulumi" / "history" / PROJECT / stack
        copies = sorted(history.glob("*.checkpoint.json*"), reverse=True)
        for each in [*([path.with_name(f"{path.name}.bak")] if path is not None else []), *copies]:
            with suppress(OSError, ValueError):
                yield self.opened(each.read_bytes()) or {}

    def sealed(self, stack: str) -> Deployment | None:
        """The stack's deployment with its secrets encrypted."""
        return self.read(stack)[0]

    def stored(self, stack: str) -> bytes:
        """The stack's state as stored, unread; empty for none. With a journal beside it: as it will be stored."""
        path = self.path(stack)
        if path is None:
            return b""
        stored = path.read_bytes()
        journal = self._open_journal(stack, stored)
        return stored if journal is None else self._rebuilt(stack, stored, journal)[0]

    def glimpse(self, stack: str) -> bytes:
        """The same for whoever only wants to know how it is encrypted: a damaged journal is left out."""
        try:
            return self.stored(stack)
        except WecityError:
            path = self.path(stack)
            return path.read_bytes() if path is not None else b""

    def checkpoint(self, stack: str) -> Checkpoint | None:
        """The stack's deployment with the version and the features of its format; `None` for no stack."""
        stored = self.stored(stack)
        if not stored:
            return None
        found = self._document(stack, stored)
        return Checkpoint(
            found["checkpoint"].get("latest") or {}, int(found["version"]), tuple(found.get("features") or ())
        )

    def digest(self, stack: str) -> str:
        """The SHA-256 of the state as it lies there, whatever a journal adds; empty for none."""
        path = self.path(stack)
        return hashlib.sha256(path.read_bytes()).hexdigest() if path is not None else ""

    def settle(self, stack: str) -> str:
        """Put the state that comes of the stack's journal in its place, and remove the journal, with the lock held.

        Interrupted anywhere, it can be called again. Returns why the engine would refuse the state, which is written
        all the same: it tells what exists. Raises `DeploymentError` for a journal that cannot be replayed.
        """
        if not self.journal(stack).exists():
            return ""
        path, found = self.path(stack), ""
        stored = path.read_bytes() if path is not None else b""
        journal = self._open_journal(stack, stored)
        if path is not None and journal is not None:
            data, rebuilt = self._rebuilt(stack, stored, journal)
            conclude(self.journal(stack), hashlib.sha256(data).hexdigest())
            found = flaw(rebuilt.deployment)
            self._put(path.with_name(f"{path.name}.bak"), stored)
            self._put(path, data)
        self.journal(stack).unlink(missing_ok=True)
        return found

    def _open_journal(self, stack: str, stored: bytes) -> Journal | None:
        """The journal that is to be replayed onto `stored`. Raises `DeploymentError` for one that does not fit."""
        journal = read_journal(self.journal(stack), stack)
        if journal is None:
            return None
        now = hashlib.sha256(stored).hexdigest()
        # Without entries nothing was done.
        if journal.result == now or not journal.entries:
            return None
        if journal.header.base == now:
            return journal
        raise DeploymentError(
            f"the state of {stack} was changed while a run's journal was to be replayed",
            details=f"{self.journal(stack)} began with another state, {journal.header.started}",
            resolution="have the journal put aside: wecityctl state repair PATH; the next `up` adopts what exists",
        )

    def _rebuilt(self, stack: str, stored: bytes, journal: Journal) -> tuple[bytes, Rebuilt]:
        checkpoint = self._document(stack, stored)
        base = checkpoint["checkpoint"].get("latest")
        try:
            rebuilt = replay(base, journal.entries, engine=journal.header.engine, time=journal.header.started)
        except (JournalError, ValueError, TypeError, KeyError, AttributeError) as error:
            raise DeploymentError(
                f"the journal of {stack} cannot be replayed",
                details=f"{self.journal(stack)}: {error}",
                resolution="run the version that has written it, or a newer one",
            ) from error
        checkpoint["checkpoint"]["latest"] = rebuilt.deployment
        checkpoint["version"] = rebuilt.version
        checkpoint.pop("features", None)
        if rebuilt.features:
            checkpoint["features"] = list(rebuilt.features)
        return repacked(compact(checkpoint), stored), rebuilt

    def create(self, stack: str) -> None:
        """An empty stack, as the CLI itself begins one."""
        self.prepare()
        self._write(stack, {"stack": f"organization/{PROJECT}/{stack}"})

    def write(self, stack: str, deployment: Deployment) -> None:
        """Replace the state. Only with the stack's lock held. Raises for a state that the engine would refuse."""
        require_sound(stack, deployment)
        self._write(stack, {"stack": f"organization/{PROJECT}/{stack}", "latest": deployment})

    def _write(self, stack: str, checkpoint: dict[str, Any]) -> None:
        path = self.path(stack) or self._stacks / f"{stack}.json"
        data = compact({"version": 3, "checkpoint": checkpoint})
        self._put(path, gzip.compress(data) if path.suffix == ".gz" else data)

    @staticmethod
    def _put(path: Path, data: bytes) -> None:
        try:
            write_private(path, data)
        except OSError as error:
            raise disk_error(error, path) from error

    def remove(self, stack: str) -> None:
        """Remove a stack and what the engine keeps about it. Only for stacks with no resources left."""
        for path in self._stacks.glob(f"{stack}.json*"):
            path.unlink(missing_ok=True)
        for area in ("history", "backups"):
            shutil.rmtree(self.root / ".pulumi" / area / PROJECT / stack, ignore_errors=True)
        for path in (self.record(stack), self.lock_record(stack), self.journal(stack)):
            path.unlink(missing_ok=True)

    def prune(self, stack: str, keep: int) -> None:
        """Remove what the engine has kept of updates before the last `keep`: records, checkpoints, copies of states.

        Of states and journals that were put aside the last `keep` stay too.
        """
        for area in ("history", "backups"):
            place = self.root / ".pulumi" / area / PROJECT / stack
            for name in updates_before(keep, [path.name for path in place.glob("*.json*")]):
                (place / name).unlink(missing_ok=True)
        for end in (".json", ".json.gz", ".jsonl"):
            for path in sorted(self.aside.glob(f"*Z.{stack}{end}"))[:-keep]:
                path.unlink(missing_ok=True)

    def history(self, stack: str, count: int | None = None) -> list[dict[str, Any]]:
        """The stack's last `count` updates (`None`: all), newest first, as the engine recorded them."""
        directory = self.root / ".pulumi" / "history" / PROJECT / stack
        entries = []
        for path in sorted(directory.glob("*.history.json*"), reverse=True)[:count]:
            entries.append(json.loads(unpacked(path.read_bytes())))
        return entries

    def add_history(self, stack: str, update: Mapping[str, Any]) -> None:
        """Record an update, with a copy of the state that it has left, as the engine's own back end does."""
        prefix = self.root / ".pulumi" / "history" / PROJECT / stack / f"{stack}-{time.time_ns()}"
        self._put(prefix.with_name(f"{prefix.name}.history.json"), compact(update))
        path = self.path(stack)
        if path is not None:
            end = path.name.removeprefix(stack)
            self._put(prefix.with_name(f"{prefix.name}.checkpoint{end}"), path.read_bytes())

    @property
    def aside(self) -> Path:
        """Where states and journals lie that made room for others, each with the time in its name."""
        return self.root / ".wecity" / "aside"

    def journal(self, stack: str) -> Path:
        """Where the journal of the engine's run on the stack lies while there is one."""
        return self.root / ".wecity" / "journals" / f"{stack}.jsonl"

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

    def run_lock(self, name: str) -> Path:
        """The file whose lock a run holds on a city, or on a stack of it."""
        return self.root / ".wecity" / "locks" / f"{name}.run"

    def path(self, stack: str) -> Path | None:
        """Where the state of the stack lies; `None` for no stack."""
        for suffix in (".json", ".json.gz"):
            path = self._stacks / f"{stack}{suffix}"
            if path.is_file():
                return path
        return None


def unpacked(stored: bytes) -> bytes:
    """A stored object as text: the engine compresses some. Raises `OSError` and `EOFError` for a damaged one."""
    return gzip.decompress(stored) if stored.startswith(_GZIP) else stored


def repacked(data: bytes, before: bytes) -> bytes:
    """An object's text as it is stored: compressed if the one `before` it was."""
    return gzip.compress(data, mtime=0) if before.startswith(_GZIP) else data


def checkpoint_in(stored: bytes, stack: str, where: str) -> dict[str, Any]:
    """The checkpoint that is stored `where`, as it lies there. Raises `WecityError` for one that is damaged."""
    try:
        found: dict[str, Any] = json.loads(unpacked(stored))
        deployment_of(found)
    except (ValueError, OSError, EOFError) as error:
        raise WecityError(
            f"the state of {stack} cannot be read",
            details=f"{where}: {error}",
            resolution="see what is left of it, and go back to that: wecityctl state repair PATH",
        ) from error
    return found


def updates_before(keep: int, names: Iterable[str]) -> Iterator[str]:
    """The names, or keys, of what was kept of updates before the last `keep`."""
    updates: dict[str, list[str]] = {}
    for name in sorted(names):
        # The parts of an update have one name but for their end.
        updates.setdefault(_END_OF_UPDATE.sub("", name), []).append(name)
    return chain.from_iterable(list(updates.values())[:-keep])


def compact(value: object) -> bytes:
    """JSON as the engine stores it."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def disk_error(error: OSError, path: Path) -> WecityError:
    """The error for a state that cannot be written."""
    full = error.errno in (errno.ENOSPC, errno.EDQUOT)
    return DeploymentError(
        "the disk is full" if full else "the state cannot be written",
        details=f"{path}: {error.strerror}",
        resolution="make room and run again: the state from before is kept" if full else "",
    )
