"""Where files live: the XDG base directories, one subdirectory of ours in each."""

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
    """Things that can be made again: engine parts, images, schemas, Pulumi's home. `$XDG_CACHE_HOME/wecityctl`."""
    return _xdg("XDG_CACHE_HOME", ".cache")


def state_dir() -> Path:
    """Things that must not be lost: local state back end, embedded clouds' data. `$XDG_STATE_HOME/wecityctl`."""
    return _xdg("XDG_STATE_HOME", ".local/state")


def source_dirs() -> tuple[Path, ...]:
    """The packages whose code decides what a run does: this one, and the stacks' programs beside it."""
    package = Path(__file__).resolve().parent
    return package, package.parent / "stacks"


def recipe_dir() -> Path:
    """The recipes of base images and the sample app, a directory each: in the package, in a checkout beside it.

    Those of capabilities lie in the capabilities' folders (`stacks.catalogue.image_recipes`).
    """
    package = Path(__file__).resolve().parent
    installed = package / "images"
    return installed if installed.is_dir() else package.parent / "images"


def recipe_names() -> tuple[str, ...]:
    """The images that there are recipes of in `recipe_dir`, in order; the recipes themselves are not read."""
    return tuple(sorted(path.parent.name for path in recipe_dir().glob("*/image.yaml")))


def private_dir(path: Path) -> Path:
    """Make `path` a directory that only its owner can enter; parents that are missing are made so too."""
    if not path.is_dir():
        private_dir(path.parent)
        path.mkdir(exist_ok=True, mode=0o700)
    return path


def write_private(path: Path, data: bytes) -> None:
    """Replace `path` with `data` in one step, readable by its owner alone."""
    private_dir(path.parent)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}.tmp")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def replace_text(path: Path, text: str) -> None:
    """Replace the content of `path` in one step; a symbolic link is followed, and owner and permissions stay.

    `text` is written as it is, without a change of line ends. Raises `OSError`.
    """
    target = path.resolve(strict=True)
    status = target.stat()
    temporary = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as stream:
            if (status.st_uid, status.st_gid) != (os.geteuid(), os.getegid()):
                os.fchown(stream.fileno(), status.st_uid, status.st_gid)
            os.fchmod(stream.fileno(), stat.S_IMODE(status.st_mode))
            stream.write(text.encode())
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def create_private(path: Path, data: bytes) -> bool:
    """Write `path`, whole or not at all, if there is none; whether it was this call that did. Raises `OSError`."""
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
