"""The command that this run carries out, as locks and messages name it. The command line sets it; others only read."""

from __future__ import annotations

import re
import shlex
from contextvars import ContextVar
from dataclasses import dataclass

from wecityctl.model.environments import chosen_environment


@dataclass(frozen=True, slots=True)
class CommandLine:
    """`command` is the command's words, such as `state move`; `path` is the city's files as the user named them.

    Both are empty where an operation is called by another program.
    """

    command: str = ""
    path: str = ""


# A command of ours up to its argument; the word by itself may be the environment variable.
_COMMAND = re.compile(r"(\bwecityctl(?: [a-z-]+)+ )PATH\b")
_NONE = CommandLine()
_CURRENT: ContextVar[CommandLine] = ContextVar("command_line", default=_NONE)


def current() -> CommandLine:
    """Return the command of this run."""
    return _CURRENT.get()


def remember(command_line: CommandLine) -> None:
    """Set the command of this run, in the current context."""
    _CURRENT.set(command_line)


def with_path(text: str) -> str:
    """Return `text`, an error's advice, with the city's path for `PATH` in commands such as `wecityctl unlock PATH`.

    Those who raise an error do not know the path; without one, the word stays.
    """
    path, environment = current().path, chosen_environment()
    if not path:
        return text
    # Another environment has other states and locks.
    given = shlex.quote(path) + (f" --env {environment}" if environment else "")
    return _COMMAND.sub(lambda found: found[1] + given, text)
