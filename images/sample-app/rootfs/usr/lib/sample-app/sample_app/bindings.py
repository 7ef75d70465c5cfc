"""Reads Service Binding files (servicebinding.io, workload projection): a directory per binding, a file per entry."""

from __future__ import annotations

import ssl
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote, urlsplit


@dataclass(frozen=True, slots=True)
class Binding:
    """One service the app may use. `entries` are the files by name; passwords never reach a log."""

    name: str
    type: str
    entries: dict[str, str] = field(repr=False)

    def get(self, *names: str, default: str = "") -> str:
        """The first entry there is of `names`, else what the `uri` says of the first, else `default`."""
        for name in names:
            if self.entries.get(name):
                return self.entries[name]
        return self._from_uri(names[0]) or default

    @property
    def tls(self) -> ssl.SSLContext | None:
        """What the server is checked with, its name included; `None` where the binding brings no authority."""
        authority = self.entries.get("ca.crt")
        return ssl.create_default_context(cadata=authority) if authority else None

    def _from_uri(self, name: str) -> str:
        parts = urlsplit(self.entries.get("uri", ""))
        known = {
            "host": parts.hostname or "",
            "port": str(parts.port or ""),
            "username": unquote(parts.username or ""),
            "password": unquote(parts.password or ""),
            "database": parts.path.lstrip("/"),
        }
        return known.get(name, "")


def read_bindings(root: str) -> tuple[Binding, ...]:
    """The bindings under `root`, by name; none where there is no such directory."""
    place = Path(root)
    if not root or not place.is_dir():
        return ()
    return tuple(
        found
        for path in sorted(place.iterdir())
        # Kubernetes keeps the versions of a mounted Secret in directories that begin with two dots.
        if path.is_dir() and not path.name.startswith(".") and (found := read_binding(path)) is not None
    )


def read_binding(path: Path) -> Binding | None:
    """The binding in the directory `path`; `None` where it has no type, which the specification asks for."""
    entries = {
        item.name: item.read_text(encoding="utf-8").strip("\n")
        for item in sorted(path.iterdir())
        if item.is_file() and not item.name.startswith(".")
    }
    kind = entries.get("type", "").strip()
    return Binding(path.name, kind, entries) if kind else None


def first(bindings: tuple[Binding, ...], *types: str) -> Binding | None:
    """The first binding of one of `types`."""
    return next((binding for binding in bindings if binding.type in types), None)
