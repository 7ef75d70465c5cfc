"""Options shared by several commands, each defined once with name, help and default."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from wecityctl.cli._complete import complete_stack, complete_target
from wecityctl.model.quantity import parse_duration
from wecityctl.model.since import Since


class StreamFormat(StrEnum):
    """`json` is a stream of events, one per line."""

    TEXT = "text"
    JSON = "json"


def duration(text: str) -> float:
    """Parse a duration such as `90s`, `10m` or `1h30m` into seconds; a plain number is in seconds.

    Raises `typer.BadParameter`.
    """
    given = text.strip()
    try:
        total = parse_duration(f"{given}s" if given.isdecimal() else given)
    except ValueError:
        total = 0
    if not 0 < total <= _LONGEST:
        raise typer.BadParameter(f"{text!r} is not a duration from 1s to 30 days: write 90s, 10m or 1h30m")
    return float(total)


def since(text: str) -> Since:
    """Parse `10m`, `2h`, or an RFC 3339 time. Raises `typer.BadParameter`."""
    try:
        return Since.parse(text)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None


_LONGEST = 30 * 24 * 3600
Timeout = Annotated[
    float | None,
    typer.Option(
        "--timeout",
        metavar="DURATION",
        parser=duration,
        show_default="no limit",
        help="Stop the whole run, in order as Ctrl-C does, when it takes longer: 90s, 10m, 1h30m. Exit code 9.",
    ),
]
AppTarget = Annotated[
    str,
    typer.Argument(
        metavar="APP",
        help="The app, as NAME or TENANT/NAME, or a component or job of it, as APP/COMPONENT.",
        show_default=False,
        autocompletion=complete_target,
    ),
]
SinceOption = Annotated[
    Since | None,
    typer.Option(
        "--since",
        metavar="DURATION|TIME",
        parser=since,
        show_default=False,
        help="Only what is newer: 90s, 10m, 2h, 1d, or a time such as 2026-05-01T08:00:00Z.",
    ),
]
LockTimeout = Annotated[
    float | None,
    typer.Option(
        "--lock-timeout",
        metavar="DURATION",
        parser=duration,
        show_default="none",
        help="While another run changes the city, wait for so long: 90s, 10m. Without it the run is refused at once.",
    ),
]
Only = Annotated[
    list[str] | None,
    typer.Option(
        "--only",
        metavar="STACK",
        help="Only this stack and what it needs; a full name or a part of it, such as a tenant. May be repeated.",
        autocompletion=complete_stack,
    ),
]
Parallelism = Annotated[
    int,
    typer.Option(
        "--parallelism",
        "-p",
        min=1,
        max=64,
        show_default="twice the processors, at most 8",
        help="Stacks side by side.",
    ),
]
Stack = Annotated[
    str,
    typer.Option(
        "--stack", metavar="STACK", help="Only this stack, or part of its name.", autocompletion=complete_stack
    ),
]
KeepGoing = Annotated[
    bool, typer.Option("--keep-going", help="Run what depends on a failed stack, with that stack's last good outputs.")
]
FailFast = Annotated[bool, typer.Option("--fail-fast", help="Start nothing new after the first failure.")]
NoSkip = Annotated[
    bool,
    typer.Option("--no-skip", help="Compare every object with its cluster and run every stack, unchanged ones too."),
]
Confirm = Annotated[
    str,
    typer.Option(
        "--confirm", metavar="CITY", help="The city's name, typed out: allows what destroys data or whole stacks."
    ),
]
TakeOver = Annotated[
    bool,
    typer.Option(
        "--take-over",
        help="Change back what others have changed in what the files state, and remove what they have added to it.",
    ),
]
NewCluster = Annotated[
    list[str] | None,
    typer.Option(
        "--new-cluster",
        metavar="CLOUD",
        help="This cloud's cluster is another one on purpose: what the old one holds is forgotten, not deleted.",
    ),
]
DeleteData = Annotated[
    bool,
    typer.Option("--delete-data", help="Delete volumes too, and what gone apps have in capabilities; else they stay."),
]
ReportFile = Annotated[
    Path | None, typer.Option("--report-file", metavar="FILE", help="Write the machine-readable result here.")
]
Stream = Annotated[
    StreamFormat, typer.Option("--output", "-o", help="text, or json: a stream of events, one a line, on stdout.")
]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask; required without a terminal.")]
Details = Annotated[bool, typer.Option("--details", help="Print every changed resource and property.")]
DetailedExitCode = Annotated[
    bool, typer.Option("--detailed-exitcode", help="Exit 0: no change, 2: changes, 1: any error.")
]
