"""The receipt of an installed part: written last, so that a directory without a valid one is never used."""

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
    """What a program was when it was placed: hexadecimal SHA-256 and size in bytes."""

    sha256: str
    size: int

    @classmethod
    def of(cls, path: Path) -> BinaryRecord:
        """Measure the file at `path`."""
        return cls(digest(path), path.stat().st_size)


@dataclass(frozen=True, slots=True)
class Receipt:
    """Where an installed part came from. `version` is what was found, which from PATH may differ from the pin."""

    part: str
    version: str
    platform: str
    source: SourceName
    detail: str
    installed_at: str
    binaries: Mapping[str, BinaryRecord]


def now() -> str:
    """The time as receipts write it."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def digest(path: Path) -> str:
    """The SHA-256 of a file, hexadecimal."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def write(directory: Path, receipt: Receipt) -> None:
    """Put `receipt` into `directory`, and have the disk hold it before this returns."""
    with (directory / FILE).open("w", encoding="utf-8") as stream:
        json.dump({"schema": SCHEMA, **asdict(receipt)}, stream, indent=2)
        stream.write("\n")
        stream.flush()
        os.fsync(stream.fileno())


def read(directory: Path) -> Receipt | None:
    """The receipt in `directory`, or None where there is none that can be understood."""
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
