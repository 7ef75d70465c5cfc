"""Reads and writes the receipt of an installed part. It is written last: a directory without one is never used."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from wecityctl.toolchain.model import SourceName

SCHEMA = 1
FILE = "receipt.json"


@dataclass(frozen=True, slots=True)
class BinaryRecord:
    """A program when it was installed: hexadecimal SHA-256, and size in bytes."""

    sha256: str
    size: int

    @classmethod
    def of(cls, path: Path) -> BinaryRecord:
        """Measure the file at `path`."""
        return cls(digest(path), path.stat().st_size)


@dataclass(frozen=True, slots=True)
class Receipt:
    """The origin of an installed part.

    `version` is the actual one, which may differ from the pin if taken from PATH.
    """

    part: str
    version: str
    platform: str
    source: SourceName
    detail: str
    installed_at: str
    binaries: Mapping[str, BinaryRecord]


def now() -> str:
    """The current time as receipts write it."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def digest(path: Path) -> str:
    """The SHA-256 of a file, hexadecimal."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def write(directory: Path, receipt: Receipt) -> None:
    """Write `receipt` to `directory` and flush it to disk."""
    with (directory / FILE).open("w", encoding="utf-8") as stream:
        json.dump({"schema": SCHEMA, **asdict(receipt)}, stream, indent=2)
        stream.write("\n")
        stream.flush()
        os.fsync(stream.fileno())


def read(directory: Path) -> Receipt | None:
    """The receipt in `directory`; `None` if there is no valid one."""
    try:
        data = json.loads((directory / FILE).read_bytes())
        return _parse(data)
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _parse(data: dict[str, Any]) -> Receipt | None:
    if data["schema"] != SCHEMA:
        return None
    return Receipt(
        part=str(data["part"]),
        version=str(data["version"]),
        platform=str(data["platform"]),
        source=SourceName(data["source"]),
        detail=str(data["detail"]),
        installed_at=str(data["installed_at"]),
        binaries={
            str(name): BinaryRecord(str(record["sha256"]), int(record["size"]))
            for name, record in data["binaries"].items()
        },
    )
