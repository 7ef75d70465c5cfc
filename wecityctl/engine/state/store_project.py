"""The stacks of a project other than `wecity` in the same place: the same store under other keys.

Pulumi's layout has a directory for each project. Our own data on such a project is kept apart from that of `wecity`, so
that stacks of the same name in two projects do not collide.
"""

from __future__ import annotations

from wecityctl.engine.state import layout
from wecityctl.engine.state.store import StateStore
from wecityctl.journal.log import Lines
from wecityctl.model.naming import PROJECT

_BY_PROJECT = (layout.STACKS, layout.HISTORY, layout.BACKUPS, layout.LOCKS)
_OURS = ".wecity/"


class ProjectStore(StateStore):
    """The stacks of `project` in the place of `base`."""

    def __init__(self, base: StateStore, project: str) -> None:
        self._base, self._project = base, project

    @property
    def project(self) -> str:
        """The project of the stacks."""
        return self._project

    @property
    def url(self) -> str:
        """See `StateStore.url`."""
        return self._base.url

    @property
    def public_url(self) -> str:
        """See `StateStore.public_url`."""
        return self._base.public_url

    @property
    def shown_url(self) -> str:
        """See `StateStore.shown_url`."""
        return self._base.shown_url

    def where(self, key: str) -> str:
        """See `StateStore.where`."""
        return self._base.where(self._moved(key))

    def get(self, key: str) -> bytes | None:
        """See `StateStore.get`."""
        return self._base.get(self._moved(key))

    def has(self, key: str) -> bool:
        """See `StateStore.has`."""
        return self._base.has(self._moved(key))

    def put(self, key: str, data: bytes) -> None:
        """See `StateStore.put`."""
        self._base.put(self._moved(key), data)

    def put_new(self, key: str, data: bytes) -> bool:
        """See `StateStore.put_new`."""
        return self._base.put_new(self._moved(key), data)

    def swap(self, key: str, data: bytes, before: bytes) -> bool:
        """See `StateStore.swap`."""
        return self._base.swap(self._moved(key), data, before)

    def swaps_safely(self) -> bool:
        """See `StateStore.swaps_safely`."""
        return self._base.swaps_safely()

    def delete(self, key: str) -> None:
        """See `StateStore.delete`."""
        self._base.delete(self._moved(key))

    def keys(self, prefix: str) -> list[str]:
        """See `StateStore.keys`."""
        moved = self._moved(prefix)
        return [prefix + key.removeprefix(moved) for key in self._base.keys(moved)]

    def lines_at(self, key: str) -> Lines:
        """See `StateStore.lines_at`."""
        return self._base.lines_at(self._moved(key))

    def _moved(self, key: str) -> str:
        for area in _BY_PROJECT:
            if f"{key}/".startswith(f"{area}/"):
                return f"{area.removesuffix(PROJECT)}{self._project}{key.removeprefix(area)}"
        return f"{_OURS}projects/{self._project}/{key.removeprefix(_OURS)}" if key.startswith(_OURS) else key
