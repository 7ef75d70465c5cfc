"""The self-managed back end in S3 or PostgreSQL."""

from __future__ import annotations

from wecityctl.engine.state.store import StateStore
from wecityctl.journal.stored import StoredLines
from wecityctl.objects import Objects, open_objects


class ObjectStore(StateStore):
    """The stacks of project `wecity` in an object store."""

    def __init__(self, objects: Objects, url: str = "") -> None:
        """`url` includes the credentials, for our CLI."""
        self.objects, self._url = objects, url or objects.url

    @classmethod
    def open(cls, url: str) -> ObjectStore:
        """Open the place at a URL. Raises what `open_objects` raises."""
        # Pulumi accepts only this one of the two schemes.
        named = f"postgres://{url.partition('://')[2]}" if url.startswith("postgresql://") else url
        return cls(open_objects(url), named)

    @property
    def url(self) -> str:
        """The URL for our CLI."""
        return self._url

    @property
    def public_url(self) -> str:
        """The URL as a user writes it."""
        return self._url

    @property
    def shown_url(self) -> str:
        """The URL without credentials."""
        return self.objects.url

    def where(self, key: str) -> str:
        """Return the place and the key."""
        return f"{self.objects.url}: {key}"

    def get(self, key: str) -> bytes | None:
        """See `StateStore.get`."""
        return self.objects.get(key)

    def has(self, key: str) -> bool:
        """See `StateStore.has`."""
        return self.objects.exists(key)

    def put(self, key: str, data: bytes) -> None:
        """See `StateStore.put`."""
        self.objects.put(key, data)

    def put_new(self, key: str, data: bytes) -> bool:
        """See `StateStore.put_new`."""
        return self.objects.create(key, data)

    def swap(self, key: str, data: bytes, before: bytes) -> bool:
        """See `StateStore.swap`."""
        return self.objects.replace(key, data, before)

    def swaps_safely(self) -> bool:
        """See `StateStore.swaps_safely`."""
        return self.objects.replaces_safely()

    def delete(self, key: str) -> None:
        """See `StateStore.delete`."""
        self.objects.delete(key)

    def keys(self, prefix: str) -> list[str]:
        """See `StateStore.keys`."""
        return [entry.key for entry in self.objects.list(prefix)]

    def lines_at(self, key: str) -> StoredLines:
        """See `StateStore.lines_at`."""
        return StoredLines(self.objects, key)
