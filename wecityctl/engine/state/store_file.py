"""The self-managed back end in a local directory."""

from __future__ import annotations

import errno
import os
import shutil
from contextlib import suppress
from pathlib import Path

from wecityctl.engine.state import layout
from wecityctl.engine.state.store import StateStore
from wecityctl.errors import AuthenticationError, DeploymentError, WecityError
from wecityctl.journal.file import FileLines
from wecityctl.model.fileurl import file_url
from wecityctl.objects.directory import turn_to_replace
from wecityctl.objects.model import check_key
from wecityctl.paths import private_dir, write_private


class FileStore(StateStore):
    """The stacks of project `wecity` below a directory."""

    def __init__(self, root: Path) -> None:
        self.root = root

    @property
    def url(self) -> str:
        """The back end for our own CLIs: no attribute files beside the states, no temporary files elsewhere."""
        return f"{self.public_url}?metadata=skip&no_tmp_dir=true"

    @property
    def public_url(self) -> str:
        """The back end as a user writes it."""
        return file_url(self.root)

    @property
    def shown_url(self) -> str:
        """The same."""
        return self.public_url

    def where(self, key: str) -> str:
        """The path of an object's file."""
        return str(self._path(key))

    def _path(self, key: str) -> Path:
        """Where an object lies. Raises `WecityError` for a key that leaves the directory, or is none."""
        return self.root / check_key(key)

    def get(self, key: str) -> bytes | None:
        """See `StateStore.get`. Raises `OSError` for a file that cannot be read."""
        try:
            return self._path(key).read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return None

    def put(self, key: str, data: bytes) -> None:
        """See `StateStore.put`."""
        path = self._path(key)
        try:
            # What somebody keeps elsewhere behind a symbolic link stays there.
            write_private(path.resolve() if path.is_symlink() else path, data)
        except OSError as error:
            raise disk_error(error, path) from error

    def put_new(self, key: str, data: bytes) -> bool:
        """See `StateStore.put_new`."""
        return self._put_instead(key, data, None)

    def swap(self, key: str, data: bytes, before: bytes) -> bool:
        """See `StateStore.swap`. The lock is the kernel's: a process that hangs here keeps the others waiting, and one
        that ends does not. Raises `DeploymentError`."""
        return self._put_instead(key, data, before)

    def _put_instead(self, key: str, data: bytes, before: bytes | None) -> bool:
        path = self._path(key)
        try:
            with turn_to_replace(self.root, key):
                is_same = self.get(key) == before
                if is_same:
                    self.put(key, data)
        except OSError as error:
            raise disk_error(error, path) from error
        return is_same

    def delete(self, key: str) -> None:
        """See `StateStore.delete`."""
        path = self._path(key)
        for each in (path, path.with_name(f"{path.name}.attrs")):
            with suppress(NotADirectoryError):
                each.unlink(missing_ok=True)

    def keys(self, prefix: str) -> list[str]:
        """See `StateStore.keys`. Files that begin with a point are being written."""
        found = []
        for directory, _, names in os.walk(self._path(prefix), onerror=_not_read):
            found += [Path(directory, name) for name in names if not name.startswith(".")]
        return sorted(path.relative_to(self.root).as_posix() for path in found if path.is_file())

    def clear(self, prefix: str) -> None:
        """See `StateStore.clear`."""
        shutil.rmtree(self._path(prefix), ignore_errors=True)

    def lines_at(self, key: str) -> FileLines:
        """See `StateStore.lines_at`."""
        return FileLines(self.root / f"{key}.jsonl")

    def prepare(self) -> None:
        """Make the directory a back end if it is none yet."""
        private_dir(self.root)
        super().prepare()
        private_dir(self.root / layout.STACKS)

    def has(self, key: str) -> bool:
        """See `StateStore.has`."""
        return self._path(key).is_file()

    def path(self, stack: str) -> Path | None:
        """Where the state of the stack lies; `None` for no stack."""
        paths = (self.root / layout.state(stack, end) for end in layout.ENDS)
        return next((path for path in paths if path.is_file()), None)

    def journal(self, stack: str) -> Path:
        """Where the journal of the engine's run on the stack lies while there is one."""
        return self.root / f"{layout.journal(stack)}.jsonl"

    def run_lock(self, name: str) -> Path:
        """The file whose lock a run holds on a city, or on a stack of it."""
        return self.root / layout.run_lock(name)


def _not_read(error: OSError) -> None:
    """A directory that cannot be read is not an empty one."""
    if not isinstance(error, FileNotFoundError | NotADirectoryError):
        raise AuthenticationError(
            "a directory of the state cannot be read",
            details=f"{error.filename}: {error.strerror}",
            resolution="look at its owner and its mode",
        ) from error


def disk_error(error: OSError, path: Path) -> WecityError:
    """The error for a state that cannot be written."""
    full = error.errno in (errno.ENOSPC, errno.EDQUOT)
    return DeploymentError(
        "the disk is full" if full else "the state cannot be written",
        details=f"{path}: {error.strerror}",
        resolution="make room and run again: the state from before is kept" if full else "",
    )
