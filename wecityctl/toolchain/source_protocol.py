"""The result and the exceptions of sources, which the installer and all sources share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from wecityctl.toolchain.model import Phase

Progress = Callable[[Phase, str], None]


class NotOfferedError(Exception):
    """The source does not have the part or must not be used. The next source is tried."""


class SourceFailedError(Exception):
    """The source should have had the part, but failed. The next source is tried."""


class StoppedError(Exception):
    """The run was cancelled while the source was working."""


@dataclass(frozen=True, slots=True)
class Provided:
    """The result of a source: the version without a leading v, and a description of the origin for the user."""

    version: str
    detail: str
