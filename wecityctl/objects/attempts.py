"""Repeating operations whose answer was lost, in bounds, and creating an object exactly once in spite of that."""

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
    """An attempt whose outcome is not known: its connection was cut, it took too long, or the server failed.

    `details` is shown to users and contains no secret.
    """

    def __init__(self, details: str) -> None:
        super().__init__(details)
        self.details = details


def new_token() -> str:
    """A value that names one call of `create`, stored with the object that it writes."""
    return uuid.uuid4().hex


def repeat(limits: Limits, act: Callable[[], T], what: str) -> T:
    """The result of `act`, repeated while it raises `LostAnswerError`. Only for what may happen twice.

    Raises `DeploymentError`, which says `what` (such as "read x from file:///y") was not possible.
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
    """Whether this call created the object.

    `write` makes one attempt to create the object together with `token`, and says whether it did. `stored_token` reads
    the token of the stored object: empty for one without, `None` for no object. Both raise `LostAnswerError`.

    A refused attempt is always verified: the object that it met may be this call's own, written by an attempt whose
    answer was lost, and some servers refuse a write that conflicts with a deletion although no object remains.
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
    """Whether this call replaced the object.

    `write` makes one attempt to replace what the caller has read, and says whether it did. `is_own` reads whether the
    stored object was written by this call: by an attempt whose answer was lost. Both raise `LostAnswerError`.
    """
    details = ""
    for _ in _attempts(limits):
        try:
            return write() or is_own()
        except LostAnswerError as error:
            details = error.details
    raise _given_up(limits, what, f"{details}\nit is not known whether the object was replaced")


def _attempts(limits: Limits) -> Iterator[int]:
    """The numbers of the attempts, with the pauses between them."""
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
    """Raise `WecityError` where `process`, which opened `url`, is not this process: threads do not survive a fork."""
    if process != os.getpid():
        raise WecityError(f"{url} was opened before this process was forked", resolution="open it in this process")
