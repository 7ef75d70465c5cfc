"""What can go wrong, in the user's words, and the exit code it ends with.

Every error that may reach a user derives from `WecityError`; `cli` alone prints it and exits.
Libraries' own exceptions are mapped to these at one border per library and kept as the cause.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path


class ExitCode(IntEnum):
    """Pulumi's map of exit codes, so that scripts know what they get."""

    OK = 0
    ERROR = 1
    CONFIGURATION = 2
    AUTHENTICATION = 3
    DEPLOYMENT = 4
    POLICY = 5
    NO_SUCH_STACK = 6
    EXPECTED_NO_CHANGES = 7
    CANCELLED = 8
    TIMEOUT = 9


class WecityError(Exception):
    """An error with what happened, the facts behind it, and what to do about it."""

    exit_code: ExitCode = ExitCode.ERROR

    def __init__(self, message: str, *, details: str = "", resolution: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.details = details
        self.resolution = resolution


class ConfigurationError(WecityError):
    """The files, flags or environment ask for something that cannot be done."""

    exit_code = ExitCode.CONFIGURATION


class AuthenticationError(WecityError):
    """Credentials are missing, expired or refused."""

    exit_code = ExitCode.AUTHENTICATION


class DeploymentError(WecityError):
    """Something in the outside world failed while it was being changed."""

    exit_code = ExitCode.DEPLOYMENT


class PolicyError(WecityError):
    """A policy rule was crossed."""

    exit_code = ExitCode.POLICY


class NoSuchStackError(WecityError):
    """The named city, stack or app is not in the state back end."""

    exit_code = ExitCode.NO_SUCH_STACK


class CancelledError(WecityError):
    """The user stopped the run."""

    exit_code = ExitCode.CANCELLED


class TimedOutError(WecityError):
    """Something did not happen in the time it was given."""

    exit_code = ExitCode.TIMEOUT


class OutOfTimeError(KeyboardInterrupt):
    """The time of a run is over. Ends whatever waits as Ctrl-C does, so that no handler of ordinary errors stops it."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong in a city's files. Lines and columns count from 1; 0 means the file as a whole."""

    file: str
    line: int
    column: int
    path: str
    message: str
    expected: str = ""
    suggestion: str = ""

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}:{self.column}" if self.line else self.file
        text = f"{place}: {self.path}: {self.message}" if self.path else f"{place}: {self.message}"
        if self.expected:
            text += f"; expected {self.expected}"
        if self.suggestion:
            text += f"; did you mean {self.suggestion!r}?"
        return text


class InvalidCityError(ConfigurationError):
    """The city's files have problems; all of them are listed. `root` is the city's directory where that is known."""

    def __init__(self, problems: tuple[Problem, ...], root: Path | None = None) -> None:
        count = len(problems)
        super().__init__(f"{count} {'problem' if count == 1 else 'problems'} in the city's files")
        self.problems = problems
        self.root = root
