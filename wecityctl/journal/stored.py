"""A journal as objects, one for each line, in storage that cannot append: S3 and PostgreSQL.

A line is written only if no object with its number exists (`Objects.create`). A process that ends another's journal
takes the next number. If the other one is still alive, its next line fails, because it would have the same number. All
lines but the first then stay for a week.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from datetime import timedelta
from itertools import groupby

from wecityctl.errors import DeploymentError
from wecityctl.objects import Entry, Objects

# Longer than any process could be suspended.
_KEPT = timedelta(days=7)
_DIGITS = 6
_FIRST = f"/{0:0{_DIGITS}}"


class StoredLines:
    """The lines as objects below `prefix`; see `Lines`. Each journal has a directory of its own."""

    def __init__(self, objects: Objects, prefix: str) -> None:
        self._objects, self._prefix = objects, prefix
        self._run, self._next, self._is_own = "", 0, False

    def __str__(self) -> str:
        return f"{self._objects.url}: {self._prefix}"

    def exists(self) -> bool:
        """See `Lines.exists`."""
        return bool(self._keys())

    def begin(self, line: str) -> None:
        """See `Lines.begin`."""
        if self.exists():
            raise DeploymentError(
                "another run's journal is there", details=str(self), resolution="run again: it is replayed first"
            )
        self._run, self._next, self._is_own = uuid.uuid4().hex, 0, True
        self.add(line)
        self._sweep()

    def resume(self) -> int:
        """See `Lines.resume`."""
        count = len(self.read())
        self._is_own = True
        return count

    def add(self, line: str) -> None:
        """See `Lines.add`."""
        if not self._objects.create(self._key(self._next), line.encode()):
            raise DeploymentError(
                "somebody else has brought the journal of this run to its end",
                details=f"{self}: as after `unlock`, or from another machine",
                resolution="run it again",
            )
        self._next += 1

    def close(self) -> None:
        """See `Lines.close`."""

    def read(self) -> list[bytes]:
        """See `Lines.read`."""
        found = list[bytes]()
        keys = self._keys()
        for number, key in enumerate(keys):
            data = self._objects.get(key)
            if data is None or not key.endswith(f"/{number:0{_DIGITS}}"):
                raise DeploymentError(
                    "a journal has changed while it was read, or lacks a line",
                    details=f"{self._objects.url}: {key}",
                    resolution="run it again; if that does not help: wecityctl state repair PATH",
                )
            found.append(data)
        self._run, self._next = keys[0].split("/")[-2] if keys else "", len(keys)
        return found

    def conclude(self, line: str) -> None:
        """See `Lines.conclude`."""
        if not self._run:
            self.read()
        self.add(line)

    def remove(self) -> None:
        """See `Lines.remove`."""
        keys = self._keys()
        # The first line is deleted first: without it, the others are not a journal. Lines of another run's journal
        # stay, because one of them has the number of its next line.
        for key in keys if self._is_own else keys[:1]:
            self._objects.delete(key)

    def raw(self) -> bytes:
        """See `Lines.raw`."""
        runs = [list(entries) for entries in self._runs()]
        found = (self._objects.get(entry.key) for run in runs if run[0].key.endswith(_FIRST) for entry in run)
        return b"".join(data + b"\n" for data in found if data is not None)

    def clear(self) -> None:
        """See `Lines.clear`."""
        for entries in map(list, self._runs()):
            last = entries[-1].key
            number = last.rpartition("/")[2]
            # A writer that is still alive finds its next number taken.
            if entries[0].key.endswith(_FIRST) and number.isdecimal():
                self._objects.create(f"{last.rpartition('/')[0]}/{int(number) + 1:0{_DIGITS}}", b"{}")
                self._objects.delete(entries[0].key)

    def _key(self, number: int) -> str:
        return f"{self._prefix}/{self._run}/{number:0{_DIGITS}}"

    def _keys(self) -> list[str]:
        """Return the keys of the journal's lines, in order; empty if there is none."""
        found = [keys for keys in map(list, self._runs()) if keys[0].key.endswith(_FIRST)]
        if self._is_own:
            found = [keys for keys in found if keys[0].key == self._key(0)]
        if len(found) > 1:
            raise DeploymentError(
                "there are several journals of one stack",
                details=f"{self}: {', '.join(keys[0].key for keys in found)}",
                resolution="have them put aside: wecityctl state repair PATH; the next `up` adopts what exists",
            )
        return [entry.key for entry in found[0]] if found else []

    def _runs(self) -> Iterator[Iterator[Entry]]:
        """Yield the remaining objects of each run's journal, in order."""
        for _, entries in groupby(self._objects.list(self._prefix), lambda entry: entry.key.split("/")[-2]):
            yield entries

    def _sweep(self) -> None:
        """Delete remaining lines that are older than a week.

        Uses the storage's clock, which has also dated this run's first line; this machine's clock may be wrong.
        """
        entries = self._objects.list(self._prefix)
        for own in [entry for entry in entries if entry.key == self._key(0)]:
            for entry in entries:
                if own.modified - entry.modified > _KEPT:
                    self._objects.delete(entry.key)
