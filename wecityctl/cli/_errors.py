"""Prints errors: what happened and what to do, on one screen and without a traceback."""

from __future__ import annotations

import errno
import json
import os
import platform
import sys
import textwrap
import traceback
from datetime import UTC, datetime
from typing import IO

import typer

from wecityctl import __version__
from wecityctl.cli._common import FORMAT_VERSION
from wecityctl.errors import DeploymentError, InvalidCityError, WecityError
from wecityctl.model.command_line import with_path
from wecityctl.model.words import printable
from wecityctl.paths import state_dir, write_private

MAX_DETAIL_LINES = 25
_NO_COMMAND = "Missing command."
_RED, _BOLD, _RESET = "\x1b[31m", "\x1b[1m", "\x1b[0m"


def show_error(error: WecityError, stream: IO[str], *, colour: bool) -> None:
    """Write `error` to `stream`: its problems if it has any, else message, details and resolution."""
    if isinstance(error, InvalidCityError):
        from wecityctl.cli._problems import show_problems

        show_problems(error.problems, error.root, stream, colour=colour)
        return
    _headline(f"error: {error.message}", stream, colour=colour)
    lines = error.details.strip().splitlines()
    for line in lines[:MAX_DETAIL_LINES]:
        stream.write(f"  {printable(line)}\n")
    if len(lines) > MAX_DETAIL_LINES:
        stream.write(f"  … and {len(lines) - MAX_DETAIL_LINES} more lines\n")
    if error.resolution:
        # Paths and names in commands stay whole.
        advice = textwrap.TextWrapper(118, "  ", "    ", break_long_words=False, break_on_hyphens=False)
        text = advice.fill(f"→ {with_path(error.resolution)}")
        stream.write(printable(text) + "\n")


def system_error(error: OSError, *, output_lost: bool) -> WecityError | None:
    """Translate an error of the operating system; `None` if it does not name what it concerns."""
    reason = error.strerror or type(error).__name__
    if error.filename is not None:
        paths = [os.fsdecode(name) for name in (error.filename, error.filename2) if isinstance(name, str | bytes)]
        return DeploymentError(
            f"{reason}: {' → '.join(paths) or error.filename}",
            resolution="see that it exists, belongs to you and has room; where files live is set with"
            " XDG_STATE_HOME and XDG_CACHE_HOME",
        )
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return DeploymentError(
            "no room is left on the disk, or where the output goes",
            details=reason,
            resolution="make room and run it again: what was done is in the state",
        )
    return WecityError("the output could not be written", details=reason) if output_lost else None


def lacks_command(error: typer.TyperException) -> bool:
    """Whether the command line names a group and none of its commands. The library says so in two ways."""
    text, context = error.format_message(), getattr(error, "ctx", None)
    is_group = hasattr(getattr(context, "command", None), "list_commands")
    return context is not None and is_group and text in (_NO_COMMAND, context.get_help())


def usage_message(error: typer.TyperException) -> str:
    """Return what is wrong with a command line, without the wording of the parsing libraries."""
    text, context = error.format_message(), getattr(error, "ctx", None)
    if context is not None and lacks_command(error):
        return "a command is missing: one of " + ", ".join(context.command.list_commands(context))
    text = text.replace(": Value error, ", ": ").replace(": Input should be ", ": must be ")
    return text.partition(", unable to parse ")[0]


def error_line(error: BaseException, code: int) -> str:
    """Return the error as one line of JSON: a complete document, and the last event of a stream."""
    value: dict[str, object] = {"message": str(error), "exit_code": code}
    if isinstance(error, WecityError):
        value |= {"details": error.details, "resolution": with_path(error.resolution)}
    if isinstance(error, InvalidCityError):
        from wecityctl.cli._problems import problem_as_json

        value["problems"] = [problem_as_json(problem) for problem in error.problems]
    if conflict := _conflict(error):
        value["conflict"] = conflict
    return json.dumps({"format_version": FORMAT_VERSION, "event": "error", "error": value}, ensure_ascii=False)


def _conflict(error: BaseException) -> list[dict[str, object]]:
    """Return the conflicting constraints of an infeasible placement, each with its position."""
    from wecityctl.placement import InfeasiblePlacementError

    if not isinstance(error, InfeasiblePlacementError):
        return []
    from wecityctl.report.placement import constraint_json

    return [constraint_json(item, error.place_of) for item in error.conflict]


def show_internal_error(error: BaseException, stream: IO[str], *, colour: bool) -> None:
    """Write one screen on an unexpected error; the traceback goes to a file that only its owner can read."""
    text = textwrap.shorten(f"{type(error).__name__}: {error}", 300)
    _headline(f"internal error: {text}", stream, colour=colour)
    stream.write("  This is a mistake in wecityctl, not in your files.\n")
    path = state_dir() / "logs" / f"error-{datetime.now(UTC):%Y%m%dT%H%M%S}-{os.getpid()}.log"
    try:
        write_private(path, _report(error).encode(errors="backslashreplace"))
    except OSError as failure:
        stream.write(f"  Its details could not be written to {path}: {failure.strerror or failure}\n")
    else:
        stream.write(f"  → report it with {path}\n")


def _report(error: BaseException) -> str:
    # The environment and local variables are left out, because they may contain secrets.
    head = f"wecityctl {__version__}, Python {platform.python_version()}, {platform.platform()}\n"
    return f"{head}command: {' '.join(sys.argv[1:3])}\n\n{''.join(traceback.format_exception(error))}"


def _headline(text: str, stream: IO[str], *, colour: bool) -> None:
    text = printable(text)
    head, _, rest = text.partition(": ")
    stream.write(f"{_BOLD}{_RED}{head}:{_RESET} {rest}\n" if colour else f"{text}\n")
