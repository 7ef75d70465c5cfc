"""Reads known vulnerabilities from files that the site brings, and finds those that concern given packages.

The files are in the format of the OSV schema (https://ossf.github.io/osv-schema/): one advisory or a list of them as
JSON, one a line as JSON Lines, or a zip archive of such files, as databases publish it. Files are not trusted: sizes,
counts and depths are bounded, and names inside archives are never paths.
"""

from __future__ import annotations

import json
import re
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from wecityctl.errors import ConfigurationError
from wecityctl.inventory.contents import Package
from wecityctl.inventory.scores import severity_of
from wecityctl.inventory.versions import Unknown, affects
from wecityctl.model.severity import Severity

MIB = 1 << 20
# One advisory; a file that is read as a whole; an archive, unpacked.
MAX_ENTRY, MAX_FILE, MAX_TOTAL = 16 * MIB, 256 * MIB, 4096 * MIB
MAX_MEMBERS = 1_000_000
_SUFFIXES = (".json", ".jsonl", ".zip")
_FORMAT = "give files of the OSV format: .json, .jsonl, or a .zip of .json files as osv.dev publishes them"

Match = Literal["affected", "unknown"]


@dataclass(frozen=True, slots=True)
class Finding:
    """A known vulnerability of a package. `fixed` are the versions that mend it, as far as the advisory says.

    `match` is `unknown` where the advisory names the package, but its version cannot be compared.
    """

    advisory: str
    package: Package
    severity: Severity
    summary: str
    aliases: tuple[str, ...] = ()
    fixed: tuple[str, ...] = ()
    match: Match = "affected"


@dataclass(slots=True)
class Matched:
    """What the files say of the packages. `newest` is when the newest advisory was changed (RFC 3339)."""

    findings: list[Finding] = field(default_factory=list)
    advisories: int = 0
    newest: str = ""


def match(paths: Sequence[Path], packages: Iterable[Package]) -> Matched:
    """Find the advisories in the files that concern `packages`.

    Every file is read to its end, one advisory at a time. Raises `ConfigurationError` for a file that cannot be read or
    is none of these formats, with its place.
    """
    known = _Known.of(packages)
    result = Matched()
    for path in paths:
        before = result.advisories
        for place, entry in read(path):
            _take(entry, place, known, result)
        if result.advisories == before:
            raise ConfigurationError(f"{path}: has no advisories", resolution=_FORMAT)
    result.findings.sort(key=lambda item: (item.severity.rank, item.package, item.advisory))
    return result


def read(path: Path) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield each advisory of a file or directory with its place for messages. Raises `ConfigurationError`."""
    try:
        if path.is_dir():
            for item in sorted(path.iterdir()):
                if item.suffix in _SUFFIXES and item.is_file():
                    yield from read(item)
        elif path.suffix == ".zip":
            yield from _zipped(path)
        elif path.suffix == ".jsonl":
            yield from _lines(path)
        elif path.is_file():
            yield from _entries(_text(path.read_bytes() if path.stat().st_size <= MAX_FILE else None, str(path)), path)
        else:
            raise ConfigurationError(f"{path}: there is no such file", resolution=_FORMAT)
    except OSError as error:
        raise ConfigurationError(f"{path}: cannot be read", details=str(error.strerror or error)) from error


def _zipped(path: Path) -> Iterator[tuple[str, Mapping[str, Any]]]:
    total = 0
    try:
        with zipfile.ZipFile(path) as archive:
            members = [item for item in archive.infolist() if item.filename.endswith(".json")]
            if len(members) > MAX_MEMBERS:
                raise ConfigurationError(f"{path}: more than {MAX_MEMBERS} files", resolution="split the archive")
            for item in members:
                place = f"{path}:{_printable(item.filename)}"
                # Other methods have errors of their own, and one takes as much memory as the file says.
                if item.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                    raise ConfigurationError(f"{place}: compressed by a method other than deflate", resolution=_FORMAT)
                with archive.open(item) as stream:
                    # The size in the archive's list is not trusted.
                    content = stream.read(MAX_ENTRY + 1)
                total += len(content)
                if len(content) > MAX_ENTRY or total > MAX_TOTAL:
                    raise ConfigurationError(f"{place}: unpacks to too much", resolution=_FORMAT)
                yield from _entries(_text(content, place), place)
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError, ValueError, zlib.error) as error:
        raise ConfigurationError(
            f"{path}: not a zip archive that can be read", details=str(error), resolution=_FORMAT
        ) from error


def _lines(path: Path) -> Iterator[tuple[str, Mapping[str, Any]]]:
    with path.open("rb") as stream:
        number = 0
        while line := stream.readline(MAX_ENTRY + 1):
            number += 1
            place = f"{path}:{number}"
            if len(line) > MAX_ENTRY:
                raise ConfigurationError(
                    f"{place}: an advisory of more than {MAX_ENTRY // MIB} MiB", resolution=_FORMAT
                )
            if line.strip():
                yield from _entries(_text(line, place), place)


def _text(content: bytes | None, place: str) -> str:
    if content is None:
        raise ConfigurationError(
            f"{place}: larger than {MAX_FILE // MIB} MiB", resolution="split it, or give JSON Lines"
        )
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"{place}: not UTF-8", details=str(error), resolution=_FORMAT) from error


def _entries(text: str, place: str | Path) -> Iterator[tuple[str, Mapping[str, Any]]]:
    try:
        document = json.loads(text)
    except json.JSONDecodeError as error:
        raise ConfigurationError(
            f"{place}:{error.lineno}:{error.colno}: not JSON", details=error.msg, resolution=_FORMAT
        ) from error
    except (RecursionError, ValueError) as error:
        raise ConfigurationError(f"{place}: not JSON that can be read", details=str(error)) from error
    for index, item in enumerate(document if isinstance(document, list) else [document]):
        where = f"{place}[{index}]" if isinstance(document, list) else str(place)
        if not isinstance(item, dict) or not isinstance(item.get("id"), str) or not item["id"]:
            raise ConfigurationError(f"{where}: not an advisory: it has no id", resolution=_FORMAT)
        yield where, item


@dataclass(frozen=True, slots=True)
class _Known:
    """The packages by the name under which advisories know them."""

    packages: Mapping[tuple[str, str], tuple[Package, ...]]

    @classmethod
    def of(cls, packages: Iterable[Package]) -> _Known:
        found: dict[tuple[str, str], list[Package]] = {}
        for item in dict.fromkeys(packages):
            found.setdefault(_key(item.ecosystem, item.source), []).append(item)
        return cls({key: tuple(items) for key, items in found.items()})

    def named(self, ecosystem: str, name: str) -> tuple[Package, ...]:
        """The packages of an advisory's `ecosystem` and `name`. An ecosystem without a release means all releases."""
        wanted = ecosystem.partition(":")[2]
        found = self.packages.get(_key(ecosystem, name), ())
        return tuple(item for item in found if not wanted or item.ecosystem.partition(":")[2] in ("", wanted))


def _key(ecosystem: str, name: str) -> tuple[str, str]:
    kind = ecosystem.partition(":")[0]
    # Source of the comparison of Python names: PEP 503.
    return kind, re.sub(r"[-_.]+", "-", name).lower() if kind == "PyPI" else name


def _take(entry: Mapping[str, Any], place: str, known: _Known, result: Matched) -> None:
    """Add what one advisory says to `result`. A withdrawn one says nothing."""
    result.advisories += 1
    result.newest = max(result.newest, _time(entry.get("modified")))
    if entry.get("withdrawn"):
        return
    stated = entry.get("affected") or []
    if not isinstance(stated, list):
        raise _malformed(place, "affected is not a list")
    found: dict[Package, Finding] = {}
    for item in stated:
        package = item.get("package") if isinstance(item, dict) else None
        if not isinstance(package, dict):
            # Repositories and commits alone: no package is meant.
            continue
        for own in known.named(str(package.get("ecosystem", "")), str(package.get("name", ""))):
            finding = _finding(entry, item, own, place)
            # Of several statements about a package, one that is sure says more than one that is not.
            if finding is not None and (own not in found or finding.match == "affected"):
                found[own] = finding
    result.findings += found.values()


def _finding(entry: Mapping[str, Any], item: Mapping[str, Any], package: Package, place: str) -> Finding | None:
    try:
        assessment = affects(item, package.ecosystem, package.source_version)
    except (TypeError, AttributeError, KeyError) as error:
        raise _malformed(place, f"affected: {error}") from error
    if not assessment.affected:
        return None
    return Finding(
        advisory=str(entry["id"]),
        package=package,
        severity=severity_of(entry, item),
        summary=_printable(str(entry.get("summary") or entry.get("details") or "")).strip()[:200],
        aliases=tuple(str(alias) for alias in entry.get("aliases") or () if isinstance(alias, str)),
        fixed=assessment.fixed,
        match="unknown" if isinstance(assessment.affected, Unknown) else "affected",
    )


def _malformed(place: str, why: str) -> ConfigurationError:
    return ConfigurationError(f"{place}: not an advisory of the OSV format", details=why, resolution=_FORMAT)


def _time(value: Any) -> str:
    """An RFC 3339 time in UTC; empty for anything else, such as a time in the future."""
    try:
        found = datetime.fromisoformat(str(value)).astimezone(UTC)
    except ValueError:
        return ""
    return found.isoformat(timespec="seconds").replace("+00:00", "Z") if found <= datetime.now(UTC) else ""


def _printable(text: str) -> str:
    return "".join(character if character.isprintable() else " " for character in text)
