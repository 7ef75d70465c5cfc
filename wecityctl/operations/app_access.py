"""Notes who entered a running app, before they do and when they have ended: the audit lines of `exec` and `open`."""

from __future__ import annotations

import asyncio
import os
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import TYPE_CHECKING

from wecityctl.errors import WecityError
from wecityctl.users import user_name

if TYPE_CHECKING:
    from wecityctl.engine.state.access_log import AccessKind
    from wecityctl.inputs import Cluster
    from wecityctl.operations.app_targets import Target
    from wecityctl.session import Session


class Noted:
    """An access that is under way; `result` is written when it ends."""

    def __init__(self) -> None:
        self.result = ""


def who() -> str:
    """The user of this process and the machine, such as `anna on desk-7`."""
    return f"{user_name()} on {os.uname().nodename}"


@contextmanager
def noted(
    session: Session,
    cluster: Cluster,
    target: Target,
    kind: AccessKind,
    *,
    identity: str,
    pod: str,
    what: Sequence[str],
) -> Iterator[Noted]:
    """Write the access before the block, and its result after it. Nobody enters if it cannot be written.

    Raises `WecityError` and `OSError` of the state's back end before the block; afterwards they are ignored.
    """
    from wecityctl.engine.state import access_log
    from wecityctl.engine.state.backend import open_backend

    backend = open_backend(session.city)
    entry = access_log.Access(
        id=uuid.uuid4().hex,
        kind=kind,
        started=time.time(),
        who=who(),
        identity=identity,
        where=target.title,
        cloud=cluster.cloud,
        object=pod,
        what=tuple(what),
    )
    access_log.note(backend, entry)
    under_way = Noted()
    try:
        yield under_way
    except (KeyboardInterrupt, asyncio.CancelledError):
        under_way.result = "interrupted"
        raise
    finally:
        ended = replace(entry, result=under_way.result or "failed", seconds=round(time.time() - entry.started, 1))
        # Where this fails, it was noted at least that it began.
        with suppress(WecityError, OSError):
            access_log.note(backend, ended)
