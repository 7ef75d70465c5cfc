"""The errors that a user can see, and the exit code of each.

Every error that may reach a user derives from `WecityError`; only `cli` prints it and exits. Exceptions of a library
are mapped to these classes in one place per library, and kept as the cause.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path


class ExitCode(IntEnum):
    """The exit codes of the program. They are Pulumi's, so that existing scripts can interpret them."""

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
    """An error that a user can see: the message, the details behind it, and how to resolve it."""

    exit_code: ExitCode = ExitCode.ERROR

    def __init__(self, message: str, *, details: str = "", resolution: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.details = details
        self.resolution = resolution


def error_text(error: WecityError | OSError) -> str:
    """Return an error as text within a note: the message, and the details below it."""
    if isinstance(error, WecityError):
        return "\n".join(filter(None, (error.message, error.details)))
    return str(error)


class ConfigurationError(WecityError):
    """The files, flags or environment variables are invalid or ask for something impossible."""

    exit_code = ExitCode.CONFIGURATION


class AuthenticationError(WecityError):
    """Credentials are missing, expired or refused."""

    exit_code = ExitCode.AUTHENTICATION


class DeploymentError(WecityError):
    """A change to a cluster, a cloud or the state failed."""

    exit_code = ExitCode.DEPLOYMENT


class PolicyError(WecityError):
    """A policy rule was violated."""

    exit_code = ExitCode.POLICY


class NoSuchStackError(WecityError):
    """The named city, stack or app is not in the state back end."""

    exit_code = ExitCode.NO_SUCH_STACK


class CancelledError(WecityError):
    """The user stopped the run."""

    exit_code = ExitCode.CANCELLED


class TimedOutError(WecityError):
    """An operation did not finish within its time limit."""

    exit_code = ExitCode.TIMEOUT


class OutOfTimeError(KeyboardInterrupt):
    """The time limit of a run has expired.

    It derives from `KeyboardInterrupt`, so that it interrupts every wait as Ctrl-C does and is not caught by handlers
    of ordinary errors.
    """


class CancellationError(KeyboardInterrupt):
    """An operation was cancelled by its caller; ends every wait as `OutOfTimeError` does."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One problem in a city's files. Lines and columns count from 1; line 0 stands for the whole file.

    With `hides`, what the file has at the place and after it in the line may be a secret, and is not shown.
    """

    file: str
    line: int
    column: int
    path: str
    message: str
    expected: str = ""
    suggestion: str = ""
    hides: bool = False

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}:{self.column}" if self.line else self.file
        text = f"{place}: {self.path}: {self.message}" if self.path else f"{place}: {self.message}"
        if self.expected:
            text += f"; expected {self.expected}"
        if self.suggestion:
            text += f"; did you mean {self.suggestion!r}?"
        return text


class InvalidCityError(ConfigurationError):
    """The city's files have problems; `problems` lists all of them. `root` is the city's directory, if known."""

    def __init__(self, problems: tuple[Problem, ...], root: Path | None = None) -> None:
        count = len(problems)
        super().__init__(f"{count} {'problem' if count == 1 else 'problems'} in the city's files")
        self.problems = problems
        self.root = root
