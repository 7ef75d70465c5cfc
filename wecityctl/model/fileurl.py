"""Parses and writes `file://` URLs of state back ends like Pulumi's engine does: the path is percent-encoded."""

from __future__ import annotations

import os
import re
from pathlib import Path
from urllib.parse import quote_from_bytes, unquote_to_bytes

SCHEME = "file://"
# Query parameters of Pulumi's engine that a URL may have. wecityctl sets its own and replaces them.
_SETTINGS = re.compile(r"(?:(?:metadata|no_tmp_dir|create_dir)=[a-z]*(?:&|$))*")
_LONE_PERCENT = re.compile(r"%(?![0-9A-Fa-f]{2})")


class FileUrlError(ValueError):
    """A `file://` URL that does not name a directory. `suggestion` is the URL that was probably meant, or empty."""

    def __init__(self, message: str, suggestion: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.suggestion = suggestion


def file_path(url: str) -> Path:
    """The directory that `url` names; `~` is the user's home. Raises `FileUrlError`."""
    text, question, settings = url.removeprefix(SCHEME).partition("?")
    if question and not _SETTINGS.fullmatch(settings):
        raise FileUrlError("in a URL, ? ends the path", _meant(url))
    if "#" in url:
        raise FileUrlError("in a URL, # ends the path", _meant(url))
    if _LONE_PERCENT.search(text):
        raise FileUrlError("in a URL, % begins the code of a character", _meant(url))
    if re.search(r"\s", text):
        raise FileUrlError("a URL has no blanks", _meant(url))
    if not text.startswith(("/", "~")):
        raise FileUrlError("it is not an absolute path", f"{SCHEME}/{text.lstrip('./')}" if text.strip("./") else "")
    try:
        path = os.fsdecode(unquote_to_bytes(os.fsencode(text)))
    except UnicodeEncodeError:
        raise FileUrlError("it is not text") from None
    if "\0" in path:
        raise FileUrlError("a path has no null character")
    try:
        return Path(path).expanduser()
    except RuntimeError:
        raise FileUrlError("there is no such user's home") from None


def file_url(path: Path) -> str:
    """The URL of an absolute path. Only characters with a special meaning are encoded, so that it stays readable."""
    return SCHEME + "".join(map(_encoded, str(path)))


def _encoded(character: str) -> str:
    if (character.isprintable() and not character.isspace() and character not in '%#?"<>\\^`{|}') or character == "/":
        return character
    return quote_from_bytes(os.fsencode(character), safe="")


def _meant(url: str) -> str:
    """`url` with every special character of its path encoded; existing percent-encoding stays."""
    text = _LONE_PERCENT.sub("%25", url.removeprefix(SCHEME).encode(errors="replace").decode())
    return SCHEME + "".join(character if character == "%" else _encoded(character) for character in text)
