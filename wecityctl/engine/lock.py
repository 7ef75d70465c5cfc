"""One lock of the engine on a stack, as it is stored, and the error for one that is in the way."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from wecityctl.engine.process import Owner
from wecityctl.errors import WecityError


class LockedError(WecityError):
    """Somebody else is changing the city, or died while doing so elsewhere."""


@dataclass(frozen=True, slots=True)
class Lock:
    """One lock of the engine on a stack. `owner` is known when one of our runs took it on a machine of ours."""

    stack: str
    path: Path
    pid: int
    host: str
    user: str
    since: str
    owner: Owner | None

    @property
    def is_dead(self) -> bool:
        """Whether its owner is certainly gone."""
        return self.owner is not None and self.owner.is_dead()

    def __str__(self) -> str:
        return f"{self.stack}: process {self.pid} of {self.user} on {self.host}, since {self.since}"


def lock_in(stack: str, path: Path, stored: bytes | None, owner: Owner | None = None) -> Lock:
    """The lock that is stored at `path`; `owner` is the process that our note beside it names."""
    try:
        content = json.loads(stored or b"")
        pid = int(content.get("pid", 0))
    except (ValueError, TypeError, AttributeError, RecursionError):
        # Cut off while it was written: its owner cannot be named by it, so the note beside decides.
        content, pid = {}, owner.pid if owner is not None else 0
    return Lock(
        stack,
        path,
        pid,
        str(content.get("hostname", "?")),
        str(content.get("username", "?")),
        str(content.get("timestamp", "?")),
        owner if owner is not None and owner.pid == pid else None,
    )


def lock_content(process: Owner) -> dict[str, object]:
    """What the engine writes in a lock of `process`."""
    now = datetime.now(UTC).isoformat()
    return {"pid": process.pid, "username": process.user, "hostname": process.host, "timestamp": now}


def require_free(stack: str, held: Sequence[Lock]) -> None:
    """Raise `LockedError` where somebody holds the stack."""
    if held:
        raise LockedError(
            f"the state of {stack} is locked",
            details="\n".join(str(lock) for lock in held),
            resolution=f"wait until that run has ended; if it is dead for certain: wecityctl unlock PATH {stack}",
        )
