"""Caches policy reports: one file for each path of a city, valid only while its key is the same.

The key covers all inputs of a policy report: the model, the catalogue, placement and images, the day, our own code,
that of partners' capabilities, and the libraries that run programs. An unreadable file counts as missing.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict
from datetime import date
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from wecityctl.paths import cache_dir, source_dirs, write_private
from wecityctl.policy.check import Evidence, PolicyReport, Violation, WaiverNote
from wecityctl.policy.model import Finding
from wecityctl.session import Session


def key_of(session: Session, day: date) -> str:
    """Return a digest of all inputs of the policy report."""
    # The values are frozen, and their `repr` is complete and in the order of the files.
    model = (session.city, sorted(session.catalogue.items()), session.plan, sorted(session.images.items()))
    digest = hashlib.sha256()
    for part in (repr(model), day.isoformat(), sys.version, *_libraries(), *_code(session)):
        digest.update(part.encode(errors="surrogatepass") + b"\0")
    return digest.hexdigest()


def recall(session: Session, key: str) -> PolicyReport | None:
    """Return the cached policy report with this key; `None` for none."""
    try:
        noted = json.loads(_file(session).read_bytes())
        return _policy_report(noted["verdict"]) if noted["key"] == key else None
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def note(session: Session, key: str, policy_report: PolicyReport) -> None:
    """Store a policy report. A failure is ignored: the next run computes it again."""
    text = json.dumps({"key": key, "verdict": asdict(policy_report)}, ensure_ascii=False)
    try:
        write_private(_file(session), text.encode(errors="surrogatepass"))
    except OSError:
        return


def _file(session: Session) -> Path:
    place = hashlib.sha256(os.fsencode(session.path.absolute())).hexdigest()[:16]
    return cache_dir() / "verdicts" / f"{session.city.name}-{place}.json"


def _libraries() -> Iterator[str]:
    """Yield signatures that change when a library is installed, removed or updated.

    Each installation renames an entry of one of these directories. Reading the versions themselves would take far
    longer.
    """
    for place in sys.path:
        if place.endswith("-packages"):
            with suppress(OSError):
                seen = Path(place).stat()
                yield f"{place} {seen.st_mtime_ns} {seen.st_ctime_ns} {seen.st_ino}"


def _code(session: Session) -> Iterator[str]:
    """Yield signatures that change with any source file: path, size and times, including the change time, which only
    the system sets.
    """
    for directory in source_dirs():
        yield from _signatures(_sources(directory))
    programs = {kind.program.partition(":")[0].partition(".")[0] for kind in session.catalogue.values()}
    for package in sorted(programs - {place.name for place in source_dirs()}):
        spec = find_spec(package)
        places = (spec.submodule_search_locations or [spec.origin or ""]) if spec is not None else []
        for place in places:
            yield from _signatures(_sources(Path(place)))


def _sources(place: Path) -> Iterator[os.DirEntry[str] | Path]:
    if place.is_file():
        yield place
        return
    pending = [str(place)]
    while pending:
        with os.scandir(pending.pop()) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    # Skip compiled files, in a directory that another user may own.
                    if entry.name != "__pycache__":
                        pending.append(entry.path)
                elif entry.name.endswith(".py"):
                    yield entry


def _signatures(files: Iterable[os.DirEntry[str] | Path]) -> Iterator[str]:
    for file in sorted(files, key=os.fspath):
        seen = file.stat()
        yield f"{os.fspath(file)} {seen.st_size} {seen.st_mtime_ns} {seen.st_ctime_ns} {seen.st_ino}"


def _policy_report(noted: Mapping[str, Any]) -> PolicyReport:
    return PolicyReport(
        city=noted["city"],
        day=noted["day"],
        rules=tuple(noted["rules"]),
        resources=noted["resources"],
        findings=tuple(Violation(**{**item, "finding": _finding(item["finding"])}) for item in noted["findings"]),
        notes=tuple(WaiverNote(**item) for item in noted["notes"]),
        evidence=tuple(Evidence(**item) for item in noted["evidence"]),
        refusing=tuple(noted["refusing"]),
    )


def _finding(noted: Mapping[str, Any]) -> Finding:
    kind_and_name = noted["document"]
    document = (kind_and_name[0], kind_and_name[1]) if kind_and_name is not None else None
    return Finding(**{**noted, "document": document, "path": tuple(noted["path"])})
