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
from wecityctl.objects.directory import ATTRIBUTES, turn_to_replace
from wecityctl.objects.model import check_key
from wecityctl.paths import private_dir, write_private


class FileStore(StateStore):
    """The stacks of project `wecity` below a directory."""

    def __init__(self, root: Path) -> None:
        self.root = root

    @property
    def url(self) -> str:
        """The URL for our CLI; its parameters disable attribute files and a separate temporary directory."""
        return f"{self.public_url}?metadata=skip&no_tmp_dir=true"

    @property
    def public_url(self) -> str:
        """The URL as a user writes it."""
        return file_url(self.root)

    @property
    def shown_url(self) -> str:
        """The same URL: it contains no credentials."""
        return self.public_url

    def where(self, key: str) -> str:
        """Return the path of an object's file."""
        return str(self._path(key))

    def _path(self, key: str) -> Path:
        """Return the path of an object's file. Raises `WecityError` for a key that is invalid or
        outside the directory.
        """
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
            # Follow a symbolic link, so that a state that the user keeps elsewhere stays there.
            write_private(path.resolve() if path.is_symlink() else path, data)
            # Pulumi's attributes of the file before. If they are damaged, Pulumi can no longer read the file.
            path.with_name(f"{path.name}{ATTRIBUTES}").unlink(missing_ok=True)
        except OSError as error:
            raise disk_error(error, path) from error

    def put_new(self, key: str, data: bytes) -> bool:
        """See `StateStore.put_new`."""
        return self._put_instead(key, data, None)

    def swap(self, key: str, data: bytes, before: bytes) -> bool:
        """See `StateStore.swap`. Raises `DeploymentError`.

        Uses a kernel lock: a suspended holder blocks the others, but one that exits does not.
        """
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
        for each in (path, path.with_name(f"{path.name}{ATTRIBUTES}")):
            with suppress(NotADirectoryError):
                each.unlink(missing_ok=True)

    def keys(self, prefix: str) -> list[str]:
        """See `StateStore.keys`. Files whose name begins with a dot are still being written."""
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
        """Initialise the directory as a back end if necessary."""
        private_dir(self.root)
        super().prepare()
        private_dir(self.root / layout.STACKS)

    def has(self, key: str) -> bool:
        """See `StateStore.has`."""
        return self._path(key).is_file()

    def path(self, stack: str) -> Path | None:
        """Return the file of the stack's state; `None` if there is no such stack."""
        paths = (self.root / layout.state(stack, end) for end in layout.ENDS)
        return next((path for path in paths if path.is_file()), None)

    def journal(self, stack: str) -> Path:
        """Return the file of the stack's journal; it exists only during a run or after a killed one."""
        return self.root / f"{layout.journal(stack)}.jsonl"

    def run_lock(self, name: str) -> Path:
        """Return the file that a run locks for a city or one of its stacks."""
        return self.root / layout.run_lock(name)


def _not_read(error: OSError) -> None:
    """Raise an error for an unreadable directory, which must not appear to be empty."""
    if not isinstance(error, FileNotFoundError | NotADirectoryError):
        raise AuthenticationError(
            "a directory of the state cannot be read",
            details=f"{error.filename}: {error.strerror}",
            resolution="look at its owner and its mode",
        ) from error


def disk_error(error: OSError, path: Path) -> WecityError:
    """Return the error for a state that cannot be written."""
    full = error.errno in (errno.ENOSPC, errno.EDQUOT)
    return DeploymentError(
        "the disk is full" if full else "the state cannot be written",
        details=f"{path}: {error.strerror}",
        resolution="make room and run again: the state from before is kept" if full else "",
    )
