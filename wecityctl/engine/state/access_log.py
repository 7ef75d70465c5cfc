"""Records who entered running apps: commands that were run in their containers, and ports that were forwarded.

One file per city beside its activities (`activity`), with one JSON object per line. An entry is written before the
access begins, and again with its result: one that was killed stays as it began.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Literal

from wecityctl.engine.state import layout
from wecityctl.engine.state.activity import beside_cli, change_lines, read_lines
from wecityctl.engine.state.backend import Backend

_KEPT = 1000
AccessKind = Literal["exec", "forward"]


@dataclass(frozen=True, slots=True)
class Access:
    """One access. `started` is in seconds since 1970; `where` is `<tenant>/<app>/<component>`, `object` the pod.

    `who` is the user on the machine, `identity` their name for the cluster. `what` are the words of the command, or the
    port. `result` is empty until it has ended, then an exit code or `failed`.
    """

    id: str
    kind: AccessKind
    started: float
    who: str
    identity: str
    where: str
    cloud: str
    object: str
    what: tuple[str, ...]
    result: str = ""
    seconds: float = 0.0

    @property
    def command(self) -> str:
        """What was run, as a shell would take it."""
        return shlex.join(self.what)


def note(backend: Backend, access: Access) -> None:
    """Add the entry, or replace the one of the same id. The last thousand are kept. Raises `OSError` and
    `WecityError`."""
    key, path = layout.access_log(backend.city), beside_cli(backend, "access.jsonl")
    change_lines(backend, key, path, lambda stored: _joined(stored, access))


def read(backend: Backend) -> tuple[Access, ...]:
    """All entries, oldest first. Unreadable lines are skipped."""
    return _all_in(read_lines(backend, layout.access_log(backend.city), beside_cli(backend, "access.jsonl")))


def _joined(stored: bytes, new: Access) -> bytes:
    found = {item.id: item for item in _all_in(stored)} | {new.id: new}
    return _text(list(found.values())[-_KEPT:])


def _text(entries: Iterable[Access]) -> bytes:
    text = "".join(json.dumps(asdict(item), ensure_ascii=False) + "\n" for item in entries)
    return text.encode("utf-8", "backslashreplace")


def _all_in(stored: bytes) -> tuple[Access, ...]:
    # Not `splitlines`: a command may have other separators in it, which JSON leaves as they are.
    lines = stored.decode("utf-8", "replace").split("\n")
    return tuple(item for line in lines if line and (item := _parsed(line)) is not None)


def _parsed(line: str) -> Access | None:
    try:
        data = json.loads(line)
        return Access(**{**data, "what": tuple(map(str, data["what"]))})
    except (ValueError, TypeError, KeyError):
        return None
