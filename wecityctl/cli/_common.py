"""What the commands share: settings of the invocation, output and its formats, the path argument and its completion.

Light on purpose: every command imports it, `--help` included.
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

from wecityctl.cli._streams import close_after_failure
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
    """What the global options say. `verbosity` is -1 with -q, 0, or the number of -v."""

    colour: Colour = Colour.AUTO
    verbosity: int = 0

    def colours(self, stream: IO[str]) -> bool:
        """Whether `stream` is to be coloured. Source of NO_COLOR: https://no-color.org."""
        if self.colour is not Colour.AUTO:
            return self.colour is Colour.ALWAYS
        return not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb" and stream.isatty()


_DEFAULT_SETTINGS = Settings()
# Set by the root command for the run it belongs to; a command's app run by itself has the defaults.
_SETTINGS: ContextVar[Settings] = ContextVar("settings", default=_DEFAULT_SETTINGS)


def settings() -> Settings:
    """What the global options of this run say."""
    return _SETTINGS.get()


def apply_settings(chosen: Settings) -> None:
    """Make `chosen` the settings of this run."""
    _SETTINGS.set(chosen)


def console() -> Console:
    """Rich on stdout, coloured as the settings say."""
    return _rich_console(sys.stdout)


def error_console() -> Console:
    """Rich on stderr, coloured as the settings say."""
    return _rich_console(sys.stderr)


def _rich_console(stream: IO[str]) -> Console:
    from wecityctl.cli._console import PipeConsole as Console

    # A pipe has no width of its own, and names cut at 80 columns can be neither searched nor copied.
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
    """Directories and YAML files that continue `incomplete`."""
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


CityPath = Annotated[
    Path,
    typer.Argument(
        metavar="PATH",
        help="The city's files: one file, or a directory of *.yaml and *.yml. Without it, the current directory.",
        autocompletion=complete_city_path,
        show_default=False,
    ),
]
# The default of `PATH` in every command that works on a city.
HERE = Path()


class _Epilogue:
    """The end of a command's help: its examples, one a line, kept as they are written."""

    def format(self, *examples: str) -> str:
        return "\b\nExamples:\n" + "\n".join(f"  {line}" for line in examples)


EPILOG = _Epilogue()


def say(text: str = "", *, raw: bool = False) -> None:
    """A line of the result, on stdout; control characters in it are escaped, unless it is `raw`."""
    sys.stdout.write(f"{text if raw else printable(text)}\n")


def note(text: str, *, end: str = "\n") -> None:
    """A line about the work, on stderr. The work goes on where nobody reads it."""
    try:
        sys.stderr.write(f"{printable(text)}{end}")
        sys.stderr.flush()
    except BrokenPipeError:
        close_after_failure(sys.stderr)


def say_json(value: Mapping[str, Any]) -> None:
    """The result as JSON on stdout, led by the version of its format."""
    say(json_text(value))


def json_text(value: Mapping[str, Any]) -> str:
    """A result as JSON, led by the version of its format."""
    return json.dumps({"format_version": FORMAT_VERSION, **value}, ensure_ascii=False, indent=2)
