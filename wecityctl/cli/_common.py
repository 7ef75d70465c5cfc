"""Shared by the commands: global settings, output and its formats, the path argument and its completion.

Every command imports this module, even for `--help`, so it must load quickly.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import IO, TYPE_CHECKING, Annotated, Any

import typer

from wecityctl.cli._environment import CITY_METAVAR
from wecityctl.cli._streams import close_after_failure
from wecityctl.model.command_line import CommandLine, remember
from wecityctl.model.words import printable

if TYPE_CHECKING:
    from rich.console import Console

FORMAT_VERSION = "1.0"
_PIPE_WIDTH = 180


class Output(StrEnum):
    """How a result is written."""

    TEXT = "text"
    JSON = "json"


class Colour(StrEnum):
    """When output is coloured."""

    AUTO = "auto"
    ALWAYS = "always"
    NEVER = "never"


@dataclass(frozen=True, slots=True)
class Settings:
    """The values of the global options. `verbosity` is -1 with -q, otherwise the number of -v."""

    colour: Colour = Colour.AUTO
    verbosity: int = 0

    def colours(self, stream: IO[str]) -> bool:
        """Whether to colour `stream`. Source of NO_COLOR: https://no-color.org."""
        if self.colour is not Colour.AUTO:
            return self.colour is Colour.ALWAYS
        return not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb" and stream.isatty()


_DEFAULT_SETTINGS = Settings()
# Set by the root command for the current run; a command that is run by itself uses the defaults.
_SETTINGS: ContextVar[Settings] = ContextVar("settings", default=_DEFAULT_SETTINGS)


def settings() -> Settings:
    """Return the values of the global options in this run."""
    return _SETTINGS.get()


def apply_settings(chosen: Settings) -> None:
    """Set the settings of this run."""
    _SETTINGS.set(chosen)


def console() -> Console:
    """Return a Rich console on stdout, with colours according to the settings."""
    return _rich_console(sys.stdout)


def error_console() -> Console:
    """Return a Rich console on stderr, with colours according to the settings."""
    return _rich_console(sys.stderr)


def _rich_console(stream: IO[str]) -> Console:
    from wecityctl.cli._console import PipeConsole as Console

    # A pipe has no width, and names cut at 80 columns could be neither searched nor copied.
    width = None if stream.isatty() else _PIPE_WIDTH
    match settings().colour:
        case Colour.ALWAYS:
            return Console(file=stream, force_terminal=True, highlight=False, width=width)
        case Colour.NEVER:
            return Console(file=stream, color_system=None, highlight=False, width=width)
        case _:
            return Console(file=stream, highlight=False, width=width)


OutputOption = Annotated[Output, typer.Option("--output", "-o", help="How to write the result.")]


def complete_city_path(incomplete: str) -> list[str]:
    """Return directories and YAML files that complete `incomplete`."""
    folder, _, start = incomplete.rpartition("/")
    base = Path(f"{folder}/") if incomplete.startswith("/") or folder else Path()
    try:
        entries = sorted(base.iterdir())
    except OSError:
        return []
    prefix = incomplete[: len(incomplete) - len(start)]
    hidden = start.startswith(".")
    found = []
    for entry in entries:
        if not entry.name.startswith(start) or (entry.name.startswith(".") and not hidden):
            continue
        if entry.is_dir():
            found.append(f"{prefix}{entry.name}/")
        elif entry.suffix in (".yaml", ".yml"):
            found.append(prefix + entry.name)
    return found


def remember_command(context: typer.Context, path: Path | None) -> Path | None:
    """Keep the command and the city's path for locks and messages; return the path unchanged."""
    remember(CommandLine(context.command_path.partition(" ")[2], str(path or "")))
    return path


CityPath = Annotated[
    Path,
    typer.Argument(
        metavar=CITY_METAVAR,
        callback=remember_command,
        help="The city's files: one file, or a directory of *.yaml and *.yml. Without it, the current directory.",
        autocompletion=complete_city_path,
        show_default=False,
    ),
]
# The default of `PATH` in every command that works on a city.
HERE = Path()


class _Epilogue:
    """The end of a command's help: its examples, one per line and not wrapped."""

    def format(self, *examples: str) -> str:
        return "\b\nExamples:\n" + "\n".join(f"  {line}" for line in examples)


EPILOG = _Epilogue()


def say(text: str = "", *, raw: bool = False) -> None:
    """Write a line of the result to stdout; control characters are escaped unless `raw` is set."""
    sys.stdout.write(f"{text if raw else printable(text)}\n")


def note(text: str, *, end: str = "\n") -> None:
    """Write a line about progress to stderr. A closed stream is ignored."""
    try:
        sys.stderr.write(f"{printable(text)}{end}")
        sys.stderr.flush()
    except BrokenPipeError:
        close_after_failure(sys.stderr)


def say_json(value: Mapping[str, Any]) -> None:
    """Write the result as JSON to stdout, starting with the format version."""
    say(json_text(value))


def json_text(value: Mapping[str, Any]) -> str:
    """Return a result as JSON, starting with the format version."""
    return json.dumps({"format_version": FORMAT_VERSION, **value}, ensure_ascii=False, indent=2)
