"""The directories and private files of the program: one subdirectory in each of the XDG base directories."""

from __future__ import annotations

import os
import stat
import threading
from pathlib import Path

APP = "wecityctl"


def _xdg(variable: str, default: str) -> Path:
    value = os.environ.get(variable, "")
    base = Path(value) if value.startswith("/") else Path.home() / default
    return base / APP


def cache_dir() -> Path:
    """Return the directory for data that can be rebuilt: engine parts, images, schemas, Pulumi's home.

    It is `$XDG_CACHE_HOME/wecityctl`.
    """
    return _xdg("XDG_CACHE_HOME", ".cache")


def state_dir() -> Path:
    """Return the directory for data that must not be lost: the local state back end and the data of embedded clouds.

    It is `$XDG_STATE_HOME/wecityctl`.
    """
    return _xdg("XDG_STATE_HOME", ".local/state")


def source_dirs() -> tuple[Path, ...]:
    """Return the directories of the packages whose code decides what a run does: `wecityctl` and `stacks`."""
    package = Path(__file__).resolve().parent
    return package, package.parent / "stacks"


def recipe_dir() -> Path:
    """Return the directory with the recipes of the base images and the sample app, one subdirectory each.

    It is inside the package when installed, beside it in a checkout. The recipes of capabilities are in the folders of
    the capabilities (`stacks.catalogue.image_recipes`).
    """
    package = Path(__file__).resolve().parent
    installed = package / "images"
    return installed if installed.is_dir() else package.parent / "images"


def recipe_names() -> tuple[str, ...]:
    """Return the sorted names of the images that have a recipe in `recipe_dir`, without reading the recipes."""
    return tuple(sorted(path.parent.name for path in recipe_dir().glob("*/image.yaml")))


def private_dir(path: Path) -> Path:
    """Create the directory `path`, and missing parents, with mode 0700."""
    if not path.is_dir():
        private_dir(path.parent)
        path.mkdir(exist_ok=True, mode=0o700)
    return path


def write_private(path: Path, data: bytes) -> None:
    """Replace the content of `path` atomically; the file gets mode 0600."""
    private_dir(path.parent)
    _replace(path, data)


def replace_text(path: Path, text: str) -> None:
    """Replace the content of `path` atomically; follows a symbolic link and keeps owner and permissions.

    `text` is written without translation of line endings. Raises `OSError`.
    """
    target = path.resolve(strict=True)
    _replace(target, text.encode(), target.stat())


def _replace(path: Path, data: bytes, like: os.stat_result | None = None) -> None:
    """Write `data` beside `path` and rename it; the file gets mode 0600, or owner and permissions of `like`."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}.tmp")
    # In a directory that others may write to, a link in the temporary file's place must not be followed.
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
    try:
        descriptor = os.open(temporary, flags, 0o600)
    except FileExistsError:
        if like is not None:
            raise
        # Such a link, or the file of a process of that number that was killed.
        temporary.unlink()
        descriptor = os.open(temporary, flags, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as stream:
            if like is not None:
                if (like.st_uid, like.st_gid) != (os.geteuid(), os.getegid()):
                    os.fchown(stream.fileno(), like.st_uid, like.st_gid)
                os.fchmod(stream.fileno(), stat.S_IMODE(like.st_mode))
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def create_private(path: Path, data: bytes) -> bool:
    """Create `path` atomically if it does not exist. Returns whether this call created it. Raises `OSError`."""
    private_dir(path.parent)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}.tmp")
    write_private(temporary, data)
    try:
        os.link(temporary, path)
    except FileExistsError:
        return False
    finally:
        temporary.unlink(missing_ok=True)
    return True
