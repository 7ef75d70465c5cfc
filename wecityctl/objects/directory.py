"""Objects as files in a directory, in the layout of Pulumi's `file://` back end.

A file is written outside the tree, and moved into it once it is durable. Symbolic links in the directory are rejected,
so that nothing outside is read or written. File operations have no time limit.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import os
import stat
import time
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from wecityctl.errors import AuthenticationError, ConfigurationError, DeploymentError, WecityError
from wecityctl.model.fileurl import FileUrlError, file_path, file_url
from wecityctl.objects.model import Entries, Entry, Limits, check_key, check_prefix, shown
from wecityctl.paths import private_dir

SCHEMES: Final = ("file",)
# Incomplete files. They are kept apart because Pulumi takes any file in its lock directory for a lock.
PARTIAL: Final = ".wecity/partial"
# The ending of Pulumi's attribute files beside objects; Pulumi rejects keys with it.
ATTRIBUTES: Final = ".attrs"
_LEFT_BEHIND_SECONDS: Final = 3600.0
# Longer than any compare-and-replace takes.
_TURN_SECONDS: Final = 60.0
_TURN_LOOK_SECONDS: Final = 0.01
_OPEN_DIRECTORY: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_NO_SPACE: Final = (errno.ENOSPC, errno.EDQUOT)
_NOT_ALLOWED: Final = (errno.EACCES, errno.EPERM, errno.EROFS)


def open_url(url: str, limits: Limits) -> Directory:
    """Open the directory of a `file://` URL; it is created with the first object. Raises `ConfigurationError`."""
    del limits
    try:
        return Directory(file_path(url))
    except FileUrlError as error:
        raise ConfigurationError(
            f"{url!r} is not a directory's URL: {error.message}",
            resolution=f"write {error.suggestion or 'file:///directory, or file://~/directory for one in your home'}",
        ) from None


class Directory:
    """The objects in one directory. Files have mode 0600 and directories 0700."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self.url = file_url(root)

    def get(self, key: str) -> bytes | None:
        """See `Objects.get`."""
        _check(key)
        with self._mapped(f"read {key}"), self._parent(key) as (parent, name):
            if parent is None:
                return None
            try:
                # Non-blocking, in case the file is a pipe.
                flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
                descriptor = os.open(name, flags, dir_fd=parent)
            except FileNotFoundError:
                return None
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                os.close(descriptor)
                return None
            with os.fdopen(descriptor, "rb") as stream:
                return stream.read()

    def exists(self, key: str) -> bool:
        """See `Objects.exists`."""
        _check(key)
        with self._mapped(f"read {key}"), self._parent(key) as (parent, name):
            if parent is None:
                return False
            try:
                return stat.S_ISREG(os.stat(name, dir_fd=parent, follow_symlinks=False).st_mode)
            except FileNotFoundError:
                return False

    def put(self, key: str, data: bytes) -> None:
        """See `Objects.put`."""
        _check(key)
        with self._mapped(f"write {key}"), self._written(data) as written, self._made_parent(key) as (parent, name):
            os.replace(written, name, dst_dir_fd=parent)
            self._drop(parent, name + ATTRIBUTES)
            os.fsync(parent)

    def create(self, key: str, data: bytes) -> bool:
        """See `Objects.create`."""
        _check(key)
        with self._mapped(f"create {key}"), self._written(data) as written, self._made_parent(key) as (parent, name):
            try:
                os.link(written, name, dst_dir_fd=parent, follow_symlinks=False)
            except FileExistsError:
                # A network file system may have created the link and lost the response.
                try:
                    there = os.stat(name, dir_fd=parent, follow_symlinks=False)
                except FileNotFoundError:
                    # It existed and has been deleted since.
                    return False
                if not os.path.samestat(there, written.stat()):
                    return False
            os.fsync(parent)
            return True

    def replace(self, key: str, data: bytes, before: bytes) -> bool:
        """See `Objects.replace`. Writers are serialised by a kernel lock, which is released when its holder exits."""
        _check(key)
        with self._mapped(f"replace {key}"), self._written(data) as written, turn_to_replace(self._root, key):
            if self.get(key) != before:
                return False
            with self._made_parent(key) as (parent, name):
                os.replace(written, name, dst_dir_fd=parent)
                self._drop(parent, name + ATTRIBUTES)
                os.fsync(parent)
        return True

    def replaces_safely(self) -> bool:
        """See `Objects.replaces_safely`."""
        return True

    def delete(self, key: str) -> None:
        """See `Objects.delete`."""
        _check(key)
        with self._mapped(f"delete {key}"), self._parent(key) as (parent, name):
            if parent is None:
                return
            self._drop(parent, name)
            self._drop(parent, name + ATTRIBUTES)
            os.fsync(parent)

    def list(self, prefix: str = "") -> Entries:
        """See `Objects.list`. Raises `DeploymentError` for a symbolic link."""
        start = check_prefix(prefix)
        found: Entries = []
        with self._mapped(f"list {start or 'the objects'}"), self._opened(start) as top:
            if top is not None:
                try:
                    self._collect(top, start, found)
                except RecursionError:
                    raise DeploymentError(
                        f"the directories in {self.url} are too deep", resolution="look what has made them"
                    ) from None
        return sorted(found, key=lambda entry: entry.key)

    def close(self) -> None:
        """Do nothing: no resource is held open."""

    def _collect(self, directory: int, path: str, found: Entries) -> None:
        """Add the entries of an open directory with the key `path`, and of those below it."""
        with os.scandir(directory) as entries:
            names = [entry.name for entry in entries]
        for name in names:
            key = f"{path}/{name}" if path else name
            if key == PARTIAL or name.endswith(ATTRIBUTES):
                continue
            try:
                facts = os.stat(name, dir_fd=directory, follow_symlinks=False)
                if stat.S_ISREG(facts.st_mode):
                    found.append(Entry(key, facts.st_size, datetime.fromtimestamp(facts.st_mtime, UTC)))
                elif stat.S_ISLNK(facts.st_mode):
                    raise self._link_refused(key)
                elif stat.S_ISDIR(facts.st_mode):
                    below = os.open(name, _OPEN_DIRECTORY | os.O_NOFOLLOW, dir_fd=directory)
                    try:
                        self._collect(below, key, found)
                    finally:
                        os.close(below)
            except FileNotFoundError:
                continue  # deleted since the directory was read

    @contextlib.contextmanager
    def _parent(self, key: str) -> Iterator[tuple[int | None, str]]:
        """Yield the open parent directory of `key` (`None` if missing) and the name in it."""
        path, _, name = key.rpartition("/")
        with self._opened(path) as parent:
            if parent is not None:
                with contextlib.suppress(FileNotFoundError):
                    if stat.S_ISLNK(os.stat(name, dir_fd=parent, follow_symlinks=False).st_mode):
                        raise self._link_refused(key)
            yield parent, name

    @contextlib.contextmanager
    def _made_parent(self, key: str) -> Iterator[tuple[int, str]]:
        """Yield the open parent directory of `key`, created if missing, and the name in it."""
        path, _, name = key.rpartition("/")
        with self._opened(path, make=True) as parent:
            assert parent is not None
            yield parent, name

    @contextlib.contextmanager
    def _opened(self, path: str, *, make: bool = False) -> Iterator[int | None]:
        """Yield the directory with the key `path` (empty for the root), opened one component at a time; `None` if
        missing.
        """
        try:
            current = os.open(self._root, _OPEN_DIRECTORY)
        except FileNotFoundError:
            yield None
            return
        try:
            walked = ""
            for part in filter(None, path.split("/")):
                walked = f"{walked}/{part}" if walked else part
                below = self._step(current, part, walked, make)
                if below is None:
                    yield None
                    return
                os.close(current)
                current = below
            yield current
        finally:
            os.close(current)

    def _step(self, parent: int, part: str, key: str, make: bool) -> int | None:
        """Open the directory `part` in the open `parent`; return `None` if it is missing."""
        if make:
            with contextlib.suppress(FileExistsError):
                os.mkdir(part, 0o700, dir_fd=parent)
                os.fsync(parent)
        try:
            return os.open(part, _OPEN_DIRECTORY | os.O_NOFOLLOW, dir_fd=parent)
        except FileNotFoundError:
            return None
        except OSError as error:
            # Linux returns ENOTDIR for a symbolic link too. A link must not appear to be a missing directory.
            if error.errno not in (errno.ENOTDIR, errno.ELOOP):
                raise
            if stat.S_ISLNK(os.stat(part, dir_fd=parent, follow_symlinks=False).st_mode):
                raise self._link_refused(key) from None
            if make:
                raise
            return None

    @contextlib.contextmanager
    def _written(self, data: bytes) -> Iterator[Path]:
        """Yield a durable file outside the tree with `data`; removes it afterwards unless it was moved."""
        # Checked first, so that nothing is created or deleted behind a link.
        directory = self._root
        for part in PARTIAL.split("/"):
            directory /= part
            if directory.is_symlink():
                raise self._link_refused(PARTIAL)
        private_dir(directory)
        _sweep(directory)
        path = directory / f"{os.getpid()}-{uuid.uuid4().hex}"
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
            with os.fdopen(descriptor, "wb") as stream:
                stream.write(data)
                stream.flush()
                os.fsync(descriptor)
            yield path
        finally:
            with contextlib.suppress(OSError):
                path.unlink(missing_ok=True)

    @staticmethod
    def _drop(parent: int, name: str) -> None:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name, dir_fd=parent)

    def _link_refused(self, key: str) -> DeploymentError:
        return DeploymentError(
            f"{key} in {self.url} is a symbolic link",
            resolution="put the real file or directory there; links below the directory of a state are not followed",
        )

    @contextlib.contextmanager
    def _mapped(self, what: str) -> Iterator[None]:
        """Map file system errors to the project's own."""
        try:
            yield
        except OSError as error:
            message = f"cannot {what} in {self.url}"
            if error.errno in _NOT_ALLOWED:
                raise AuthenticationError(
                    message, details=shown(error), resolution="check the owner and the mode of the directory"
                ) from error
            advice = "free some space on that file system" if error.errno in _NO_SPACE else "check the directory"
            raise DeploymentError(message, details=shown(error), resolution=f"{advice}, and try again") from error


@contextlib.contextmanager
def turn_to_replace(root: Path, key: str) -> Iterator[None]:
    """Hold the kernel lock for replacing the object `key`; it is released when its holder exits.

    Raises `OSError`, and `DeploymentError` if another process holds it for a minute.
    """
    path = private_dir(root / PARTIAL) / f"{hashlib.sha256(key.encode()).hexdigest()[:32]}.turn"
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        until = time.monotonic() + _TURN_SECONDS
        while not _locked(descriptor):
            if time.monotonic() > until:
                raise DeploymentError(
                    f"another process has been writing {key} in {file_url(root)} for {_TURN_SECONDS:g} s",
                    resolution="look whether it hangs, end it, and try again",
                )
            time.sleep(_TURN_LOOK_SECONDS)
        yield
    finally:
        os.close(descriptor)


def _locked(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _check(key: str) -> None:
    """Raise `WecityError` for an invalid key, or one that is reserved in a directory."""
    check_key(key)
    if f"{key}/".startswith(f"{PARTIAL}/") or any(part.endswith(ATTRIBUTES) for part in key.split("/")):
        raise WecityError(f"{key!r} cannot be the key of an object in a directory", details="the name is reserved")


def _sweep(directory: Path) -> None:
    """Remove incomplete files left by killed writers."""
    oldest = time.time() - _LEFT_BEHIND_SECONDS
    with contextlib.suppress(OSError), os.scandir(directory) as entries:
        for entry in entries:
            # A lock file must keep its name, or it would no longer exclude anyone.
            if not entry.name.endswith(".turn") and entry.stat(follow_symlinks=False).st_mtime < oldest:
                Path(entry.path).unlink(missing_ok=True)
