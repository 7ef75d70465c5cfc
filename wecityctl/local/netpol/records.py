"""Reads the records that the CNI plug-in writes, one file per sandbox. They never change, so each is read once."""

from __future__ import annotations

import json
import logging
from pathlib import Path

from wecityctl.local.netpol import parse
from wecityctl.local.netpol.model import Record

_log = logging.getLogger(__name__)


class Records:
    """The content of the directory at the time of the last `look`."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._known: dict[str, Record | None] = {}

    @property
    def all(self) -> tuple[Record, ...]:
        """All valid records, sorted by sandbox."""
        return tuple(record for _, record in sorted(self._known.items()) if record is not None)

    def look(self) -> bool:
        """Read new records and forget removed ones; returns whether anything changed."""
        try:
            paths = {path.name: path for path in self._directory.iterdir() if not path.name.startswith(".")}
        except FileNotFoundError:
            paths = {}
        before = set(self._known)
        for name in before - paths.keys():
            del self._known[name]
        for name in paths.keys() - before:
            self._known[name] = _read(paths[name])
        return before != self._known.keys()


def _read(path: Path) -> Record | None:
    try:
        return parse.record(json.loads(path.read_bytes()), path.stat().st_mtime_ns)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        _log.warning("%s is no record of a pod's addresses: %r", path, error)
        return None
