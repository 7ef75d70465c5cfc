"""Retries operations whose response was lost, within limits, and creates an object exactly once despite retries."""

from __future__ import annotations

import os
import random
import time
import uuid
from collections.abc import Callable, Iterator
from typing import TypeVar

from wecityctl.errors import DeploymentError, WecityError
from wecityctl.objects.model import Limits

T = TypeVar("T")


class LostAnswerError(Exception):
    """The outcome of an attempt is unknown: the connection broke, it timed out, or the server failed.

    `details` is shown to users and contains no secret. `is_busy`: the server has asked for fewer requests.
    """

    def __init__(self, details: str, *, is_busy: bool = False) -> None:
        super().__init__(details)
        self.details = details
        self.is_busy = is_busy


def new_token() -> str:
    """Return a unique value that identifies one call of `create`; it is stored with the object."""
    return uuid.uuid4().hex


def repeat(limits: Limits, act: Callable[[], T], what: str) -> T:
    """Call `act` again while it raises `LostAnswerError`; return its result. `act` must be idempotent.

    Raises `DeploymentError` with the operation `what`, such as "read x from file:///y".
    """
    attempts = _Attempts(limits)
    for _ in attempts:
        try:
            return act()
        except LostAnswerError as error:
            attempts.lost(error)
    raise attempts.given_up(what)


def create_once(
    limits: Limits, write: Callable[[], bool], stored_token: Callable[[], str | None], token: str, what: str
) -> bool:
    """Create an object; return whether this call created it.

    `write` makes one attempt to create the object together with `token`, and returns whether it did. `stored_token`
    returns the token of the stored object: empty if it has none, `None` if there is no object. Both raise
    `LostAnswerError`.

    A rejected attempt is always verified. The existing object may have been written by an earlier attempt of this call
    whose response was lost, and some servers reject a write that conflicts with a deletion although no object remains.
    """
    attempts = _Attempts(limits)
    for _ in attempts:
        try:
            if write():
                return True
            found = stored_token()
        except LostAnswerError as error:
            attempts.lost(error)
            continue
        if found is not None:
            return found == token
        attempts.details = "the server refused to create the object although there is none"
    try:
        if stored_token() == token:
            return True
    except LostAnswerError as error:
        attempts.lost(error)
    raise attempts.given_up(what, "it is not known whether the object was created")


def replace_once(limits: Limits, write: Callable[[], bool], is_own: Callable[[], bool], what: str) -> bool:
    """Replace an object; return whether this call replaced it.

    `write` makes one attempt to replace the data that the caller has read, and returns whether it did. `is_own` returns
    whether the stored object was written by an earlier attempt of this call. Both raise `LostAnswerError`.
    """
    attempts = _Attempts(limits)
    for _ in attempts:
        try:
            return write() or is_own()
        except LostAnswerError as error:
            attempts.lost(error)
    raise attempts.given_up(what, "it is not known whether the object was replaced")


class _Attempts:
    """The attempts of an operation, with pauses between them. `details` is why the last one has failed."""

    def __init__(self, limits: Limits) -> None:
        self._limits, self._made, self._busy = limits, 0, 0
        self._pause = 0.0
        self.details = ""

    def __iter__(self) -> Iterator[int]:
        while self._made - self._busy < self._limits.attempts and self._busy <= self._limits.busy_attempts:
            if self._made:
                time.sleep(self._pause or self._limits.pause * 2 ** (self._made - self._busy - 1))
            self._made, self._pause = self._made + 1, 0.0
            yield self._made

    def lost(self, error: LostAnswerError) -> None:
        """Note that the attempt under way has failed."""
        self.details = error.details
        if error.is_busy:
            # Not at the same time as all others that were refused.
            self._pause = self._limits.busy_pause * 2 ** min(self._busy, 3) * random.uniform(0.5, 1)  # noqa: S311
            self._busy += 1

    def given_up(self, what: str, *more: str) -> DeploymentError:
        """The error that says that no attempt has succeeded."""
        times = f"{self._made} attempts" if self._made > 1 else "1 attempt"
        busy = self._busy > self._limits.busy_attempts
        return DeploymentError(
            f"cannot {what}: no usable answer after {times} of at most {self._limits.seconds:g} s",
            details="\n".join((self.details, *more)),
            resolution="the server refuses requests because it has too much to do: try again later, or less at a time"
            if busy
            else "check that the server runs and can be reached from here, and try again",
        )


def require_own(process: int, url: str) -> None:
    """Raise `WecityError` unless this is the process that opened `url`: threads do not survive a fork."""
    if process != os.getpid():
        raise WecityError(f"{url} was opened before this process was forked", resolution="open it in this process")
