"""Finds and reads the files of a city. Errors of the file system and of the encoding are returned as problems."""

from __future__ import annotations

import codecs
import os
import re
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from wecityctl.errors import Problem
from wecityctl.model.environments import ENVIRONMENT_NAME_TEXT, is_environment_name

MAX_FILE_BYTES = 5_000_000
MAX_FILES = 10_000
MAX_DIRECTORIES = 10_000
SUFFIXES = (".yaml", ".yml")
# Beside the city's documents; what lies below it is merged over them.
ENVIRONMENTS = "environments"

# Characters that YAML does not allow, line breaks that most editors do not show as such, and bidirectional controls,
# which can make one line look like another (CVE-2021-42574).
_FORBIDDEN = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ufffe\uffff]")
_WIDE_MARKS = (codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE, codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_KINDS = (
    (stat.S_ISFIFO, "a named pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)


@dataclass(frozen=True, slots=True)
class SourceFile:
    """A file of the city. `name` is how messages call it: the path as the user wrote it, and what is below it.

    `root` is the resolved directory of the city; files outside it, reached through symbolic links, are neither read nor
    quoted. `None`: the directory that contains the file.
    """

    path: Path
    name: str
    root: Path | None = None

    @property
    def home(self) -> Path:
        """The resolved directory that must contain the file. Raises `OSError`."""
        return self.root or self.path.parent.resolve(strict=True)


def find_files(path: Path) -> tuple[tuple[SourceFile, ...], tuple[Problem, ...]]:
    """The file at `path`, or all *.yaml and *.yml files below the directory, sorted by name; and the problems found."""
    name = printable(path)
    try:
        status = path.stat()
    except (OSError, ValueError) as error:
        return (), (_whole_file(name, _reason(error)),)
    if kind := _odd_kind(status):
        return (), (_not_regular(name, kind),)
    if not stat.S_ISDIR(status.st_mode):
        file = SourceFile(path, name)
        return ((), (_outside(name),)) if path.is_symlink() and not _is_inside(path, file.home) else ((file,), ())
    problems: list[Problem] = []
    found = list(_walk(path, path.resolve(), problems, skipped=path / ENVIRONMENTS))
    if not found and not problems:
        problems.append(_whole_file(name, "no *.yaml or *.yml file in this directory", "a file with kind: City"))
    return tuple(sorted(found, key=lambda file: file.path.relative_to(path).parts)), tuple(problems)


def find_environments(path: Path) -> tuple[Mapping[str, tuple[SourceFile, ...]], tuple[Problem, ...]]:
    """The files of each environment of the city at `path`, by its name; and the problems found.

    They lie next to the city: in `environments/NAME.yaml`, or in files below `environments/NAME/`.
    """
    root = path if _is_directory(path) else path.parent
    directory = root / ENVIRONMENTS
    if not _is_directory(directory):
        return {}, ()
    home = root.resolve()
    if not _is_inside(directory, home):
        return {}, (_outside(printable(directory)),)
    problems: list[Problem] = []
    found: dict[str, list[SourceFile]] = {}
    for file in sorted(_walk(directory, home, problems), key=lambda each: each.path.relative_to(directory).parts):
        first, *below = file.path.relative_to(directory).parts
        name = first if below else first.rpartition(".")[0]
        if not is_environment_name(name):
            expected = f"environments/NAME.yaml or environments/NAME/, with a name of {ENVIRONMENT_NAME_TEXT}"
            problems.append(_whole_file(file.name, f"{name!r} is no name of an environment", expected))
        elif found.get(name) and (not below or found[name][0].path.parent == directory):
            message = f"environment {name!r} has files in two places (first {found[name][0].name})"
            problems.append(_whole_file(file.name, message, "one file, or one directory"))
        else:
            found.setdefault(name, []).append(file)
    return {name: tuple(files) for name, files in found.items()}, tuple(problems)


def _is_directory(path: Path) -> bool:
    try:
        return path.is_dir()
    except (OSError, ValueError):
        return False


def _walk(root: Path, home: Path, problems: list[Problem], skipped: Path | None = None) -> Iterator[SourceFile]:
    pending = [root]
    seen: set[tuple[int, int]] = set()
    files = 0
    while pending:
        directory = pending.pop()
        try:
            if not _is_new(directory.stat(), seen):
                continue
            with os.scandir(directory) as entries:
                found = sorted((each.name, each.is_symlink()) for each in entries if not each.name.startswith("."))
        except OSError as error:
            problems.append(_whole_file(printable(directory), _reason(error)))
            continue
        for name, is_link in found:
            path = directory / name
            try:
                status = path.stat()
            except OSError as error:
                if name.endswith(SUFFIXES):
                    problems.append(_whole_file(printable(path), _reason(error)))
                continue
            concerns = stat.S_ISDIR(status.st_mode) or name.endswith(SUFFIXES)
            if stat.S_ISDIR(status.st_mode) and path == skipped:
                continue
            if is_link and concerns and not _is_inside(path, home):
                problems.append(_outside(printable(path)))
            elif stat.S_ISDIR(status.st_mode):
                pending.append(path)
            elif not name.endswith(SUFFIXES):
                continue
            elif kind := _odd_kind(status):
                problems.append(_not_regular(printable(path), kind))
            elif stat.S_ISREG(status.st_mode) and _is_new(status, seen):
                files += 1
                yield SourceFile(path, printable(path), home)
        if files > MAX_FILES or len(seen) > MAX_FILES + MAX_DIRECTORIES:
            problems.append(_whole_file(printable(root), f"more than {MAX_FILES:,} files", "the directory of one city"))
            return


def _is_inside(path: Path, home: Path) -> bool:
    """Whether `path`, after resolving symbolic links, is inside `home`."""
    try:
        return path.resolve(strict=True).is_relative_to(home)
    except (OSError, RuntimeError):
        return False


def _is_new(status: os.stat_result, seen: set[tuple[int, int]]) -> bool:
    """Whether the file or directory was not seen before; symbolic links may lead to it twice or form a cycle."""
    identity = (status.st_dev, status.st_ino)
    if identity in seen:
        return False
    seen.add(identity)
    return True


def read_text(file: SourceFile) -> tuple[str, Problem | None]:
    """Read `file`; returns its text, or the problem. Reads at most the size limit and does not block on a pipe."""
    try:
        descriptor = os.open(file.path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
    except (OSError, ValueError) as error:
        return "", _whole_file(file.name, _reason(error))
    try:
        with os.fdopen(descriptor, "rb") as stream:
            status = os.fstat(descriptor)
            if kind := _odd_kind(status):
                return "", _not_regular(file.name, kind)
            if not _is_of_the_city(file, status):
                return "", _outside(file.name)
            if status.st_size > MAX_FILE_BYTES:
                return "", _too_large(file.name, status.st_size)
            data: bytes | None = stream.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        return "", _whole_file(file.name, _reason(error))
    if data is None:
        return "", _whole_file(file.name, "has nothing to be read yet", "a regular file")
    if len(data) > MAX_FILE_BYTES:
        return "", _too_large(file.name, len(data))
    return decode(data, file.name)


def _is_of_the_city(file: SourceFile, opened: os.stat_result) -> bool:
    """Whether the opened file is inside the city's directory. Checked again, as links may change after the search."""
    real = file.path.resolve(strict=True)
    return real.is_relative_to(file.home) and os.path.samestat(opened, real.stat(follow_symlinks=False))


def decode(data: bytes, name: str) -> tuple[str, Problem | None]:
    """Decode UTF-8; returns the text, or the problem at the line and column of the invalid byte."""
    if data.startswith(_WIDE_MARKS):
        return "", _whole_file(name, "is UTF-16 or UTF-32", "UTF-8; save the file anew in that encoding")
    if data[:400].count(0) > len(data[:400]) // 4:
        return "", _whole_file(name, "is UTF-16 or not text at all", "UTF-8; save the file anew in that encoding")
    data = data.removeprefix(codecs.BOM_UTF8)
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        before = data[: error.start]
        line, column = _line_and_column(before.decode(errors="replace"))
        byte = data[error.start]
        message = f"byte 0x{byte:02x} at offset {error.start} is not UTF-8"
        return "", Problem(name, line, column, "", message, "UTF-8; is the file in GBK or Latin-1?")
    if match := _FORBIDDEN.search(text):
        line, column = _line_and_column(text[: match.start()])
        message = f"control character U+{ord(match[0]):04X}"
        return "", Problem(name, line, column, "", message, "text; inside double quotes it can be written as an escape")
    return text, None


def _line_and_column(before: str) -> tuple[int, int]:
    return before.count("\n") + 1, len(before) - before.rfind("\n")


def _odd_kind(status: os.stat_result) -> str:
    return next((kind for is_kind, kind in _KINDS if is_kind(status.st_mode)), "")


def _not_regular(name: str, kind: str) -> Problem:
    return _whole_file(name, f"is {kind}", "a regular file or a directory")


def _outside(name: str) -> Problem:
    message = "is a link that leads out of the city's directory"
    return _whole_file(name, message, "a file or directory of the city itself; what links lead to outside is not read")


def _too_large(name: str, size: int) -> Problem:
    message = f"is too large: {size / 1e6:.1f} MB"
    return _whole_file(name, message, f"at most {MAX_FILE_BYTES // 1_000_000} MB per file; split it")


def printable(path: Path) -> str:
    """The path for messages: line breaks, terminal escapes and undecodable bytes are escaped."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in str(path))


def _reason(error: OSError | ValueError) -> str:
    match error:
        case FileNotFoundError():
            return "no such file or directory"
        case PermissionError():
            return "may not be read (permission denied)"
        case OSError():
            return f"cannot be read: {error.strerror or error}"
        case _:
            return "is not a valid path"


def _whole_file(name: str, message: str, expected: str = "") -> Problem:
    return Problem(name, 0, 0, "", message, expected)
