"""The small vocabulary between the installer and its sources."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from wecityctl.toolchain.model import Phase

Progress = Callable[[Phase, str], None]


class NotOfferedError(Exception):
    """The source does not have the part, or may not be asked; the next one is tried."""


class SourceFailedError(Exception):
    """The source should have had the part, and something went wrong; the next one is tried."""


class StoppedError(Exception):
    """The run was cancelled while the source was at work."""


@dataclass(frozen=True, slots=True)
class Provided:
    """What a source put down: the version without a leading v, and where it came from in the user's words."""

    version: str
    detail: str
