"""When restoring a capability's data was last proved, and of what: the record that the proof writes.

A record holds for the digest of all that decides how a capability is backed up and restored. Another digest means that
nothing is proved, and a test says so.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from stacks.catalogue import registered

RECORDS = Path(__file__).with_name("restores.json")
_SHARED = (
    Path(__file__).with_name("backups.py"),
    Path(__file__).with_name("backup_scripts.py"),
    Path(__file__).with_name("job_pods.py"),
    Path(__file__).with_name("provisioner.py"),
)


@dataclass(frozen=True, slots=True)
class Proof:
    """A restore that was proved: `date` in ISO format, the `digest` of what was proved, and how, in words."""

    date: str
    digest: str
    how: str


def proofs() -> dict[str, Proof]:
    """The recorded proofs, by capability type."""
    found = json.loads(RECORDS.read_text()) if RECORDS.is_file() else {}
    return {name: Proof(**item) for name, item in found.items()}


def proof_of(kind: str) -> Proof | None:
    """The proof of a type, if it is of what is here."""
    found = proofs().get(kind)
    return found if found is not None and found.digest == digest_of(kind) else None


def record(kind: str, date: str, how: str) -> None:
    """Record that restoring a type's data was proved on this day."""
    found = proofs() | {kind: Proof(date, digest_of(kind), how)}
    values = {name: {"date": item.date, "digest": item.digest, "how": item.how} for name, item in sorted(found.items())}
    RECORDS.write_text(json.dumps(values, indent=2) + "\n")


def digest_of(kind: str) -> str:
    """The digest of a type's folder, with its image, and of what all backups share."""
    folder = registered()[kind].folder
    assert folder is not None
    whole = hashlib.sha256()
    for path in (*_SHARED, *_files(folder)):
        whole.update(f"{path.name}\0".encode() + path.read_bytes() + b"\0")
    return whole.hexdigest()[:16]


def _files(folder: Path) -> Iterator[Path]:
    """The files of a folder in order, without what Python and the tests of Go add."""
    for path in sorted(folder.rglob("*")):
        if path.is_file() and "__pycache__" not in path.parts and not path.name.endswith("_test.go"):
            yield path
