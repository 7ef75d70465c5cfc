"""Retries operations whose response was lost, within limits, and creates an object exactly once despite retries."""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Callable, Iterator
from typing import TypeVar

from wecityctl.errors import DeploymentError, WecityError
from wecityctl.objects.model import Limits

T = TypeVar("T")


class LostAnswerError(Exception):
    """The outcome of an attempt is unknown: the connection broke, it timed out, or the server failed.

    `details` is shown to users and contains no secret.
    """

    def __init__(self, details: str) -> None:
        super().__init__(details)
        self.details = details


def new_token() -> str:
    """Return a unique value that identifies one call of `create`; it is stored with the object."""
    return uuid.uuid4().hex


def repeat(limits: Limits, act: Callable[[], T], what: str) -> T:
    """Call `act` again while it raises `LostAnswerError`; return its result. `act` must be idempotent.

    Raises `DeploymentError` with the operation `what`, such as "read x from file:///y".
    """
    details = ""
    for _ in _attempts(limits):
        try:
            return act()
        except LostAnswerError as error:
            details = error.details
    raise _given_up(limits, what, details)


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
    details = ""
    for _ in _attempts(limits):
        try:
            if write():
                return True
            found = stored_token()
        except LostAnswerError as error:
            details = error.details
            continue
        if found is not None:
            return found == token
        details = "the server refused to create the object although there is none"
    try:
        if stored_token() == token:
            return True
    except LostAnswerError as error:
        details = error.details
    raise _given_up(limits, what, f"{details}\nit is not known whether the object was created")


def replace_once(limits: Limits, write: Callable[[], bool], is_own: Callable[[], bool], what: str) -> bool:
    """Replace an object; return whether this call replaced it.

    `write` makes one attempt to replace the data that the caller has read, and returns whether it did. `is_own` returns
    whether the stored object was written by an earlier attempt of this call. Both raise `LostAnswerError`.
    """
    details = ""
    for _ in _attempts(limits):
        try:
            return write() or is_own()
        except LostAnswerError as error:
            details = error.details
    raise _given_up(limits, what, f"{details}\nit is not known whether the object was replaced")


def _attempts(limits: Limits) -> Iterator[int]:
    """Yield the numbers of the attempts, pausing between them."""
    for number in range(limits.attempts):
        if number:
            time.sleep(limits.pause * 2 ** (number - 1))
        yield number


def _given_up(limits: Limits, what: str, details: str) -> DeploymentError:
    times = f"{limits.attempts} attempts" if limits.attempts > 1 else "1 attempt"
    return DeploymentError(
        f"cannot {what}: no usable answer after {times} of at most {limits.seconds:g} s",
        details=details,
        resolution="check that the server runs and can be reached from here, and try again",
    )


def require_own(process: int, url: str) -> None:
    """Raise `WecityError` unless this is the process that opened `url`: threads do not survive a fork."""
    if process != os.getpid():
        raise WecityError(f"{url} was opened before this process was forked", resolution="open it in this process")
