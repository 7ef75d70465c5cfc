"""Counts how often each security object was restored in a row, in a file next to the local state.

The counts end restoring an object that somebody changes back each time. They are per machine, whatever the back end.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from wecityctl.filelock import turn_of
from wecityctl.model.naming import digest
from wecityctl.paths import state_dir, write_private


class RestoreCounts:
    """The restore counts of one city.

    `cluster` is a cluster's identifier; `key` is an object's apiVersion, kind, namespace and name, joined by `|`.
    `clean` and `again` change the counts; `save` writes changed ones.
    """

    def __init__(self, backend_url: str, city: str) -> None:
        self._path = state_dir() / "restored" / f"{city}-{digest(backend_url)}.json"
        self._counts = _load(self._path)
        self._before = dict(self._counts)

    def count(self, cluster: str, key: str) -> int:
        """How often the object was restored since it was last found unchanged."""
        return self._counts.get(f"{cluster}|{key}", 0)

    def clean(self, cluster: str, key: str) -> None:
        """Reset the count: the object was found unchanged."""
        self._counts.pop(f"{cluster}|{key}", None)

    def again(self, cluster: str, key: str) -> None:
        """Increment the count: the object was restored once more."""
        self._counts[f"{cluster}|{key}"] = self.count(cluster, key) + 1

    def save(self) -> None:
        """Write the changed counts; those that another run wrote are kept. Raises `OSError`."""
        changed = {key for key in {*self._counts, *self._before} if self._counts.get(key) != self._before.get(key)}
        if not changed:
            return
        with turn_of(self._path):
            others = {key: value for key, value in _load(self._path).items() if key not in changed}
            counts = others | {key: self._counts[key] for key in changed if key in self._counts}
            write_private(self._path, json.dumps(counts, indent=1, sort_keys=True).encode())
        self._before = dict(self._counts)


def _load(path: Path) -> dict[str, int]:
    try:
        found: Any = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    if not isinstance(found, Mapping):
        return {}
    return {str(key): value for key, value in found.items() if isinstance(value, int)}
