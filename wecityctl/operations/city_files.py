"""Writes new texts of a city's files, one command at a time."""

from __future__ import annotations

import codecs
import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from wecityctl.errors import ConfigurationError
from wecityctl.filelock import turn_of
from wecityctl.paths import replace_text, state_dir
from wecityctl.spec.files import printable

_BYTE_ORDER_MARK = "\ufeff"


@contextmanager
def turn_to_edit(path: Path) -> Iterator[None]:
    """Wait until no other command of this user edits the files of the city at `path`, and keep others out meanwhile.

    What is to be edited must be read within, so that no change of another command is lost. Raises `TimedOutError`.
    """
    name = hashlib.sha256(str(path.resolve()).encode("utf-8", "surrogateescape")).hexdigest()[:16]
    with turn_of(state_dir() / "edits" / name):
        yield


def write_together(texts: Mapping[Path, str]) -> None:
    """Write all files, each in one step, or none. Raises `ConfigurationError` if one cannot be written.

    New files get the permissions that new files get here; others keep theirs, and a byte order mark, also where
    the text has none.
    """
    written: dict[Path, bytes | None] = {}
    for file, text in texts.items():
        try:
            before = file.read_bytes() if file.exists() else None
            if before is None:
                file.touch(exist_ok=False)
            written[file] = before
            has_mark = before is not None and before.startswith(codecs.BOM_UTF8)
            replace_text(file, _BYTE_ORDER_MARK + text.removeprefix(_BYTE_ORDER_MARK) if has_mark else text)
        except OSError as error:
            for each, content in written.items():
                with suppress(OSError):
                    each.unlink() if content is None else replace_text(each, content.decode())
            raise ConfigurationError(
                f"{printable(file)} cannot be written: {error.strerror or error}",
                resolution="make the file and its directory writable, and run it again",
            ) from error
