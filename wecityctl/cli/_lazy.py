"""A group of commands whose modules are imported when they are called, so that `--help` loads quickly.

The table has everything that the group's help shows. It is read from the source of the modules: every module of this
package with a `SUMMARY` and an `ORDER` is a command, so a new command needs only a new file.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import typer
from typer.core import TyperGroup

from wecityctl.cli._environment import CITY_METAVAR, environment_option
from wecityctl.errors import CancelledError
from wecityctl.guesses import nearest

_COMPLETION_OPTIONS = ("install_completion", "show_completion")


@dataclass(frozen=True, slots=True)
class Command:
    """A row of the table: `module` has a `typer.Typer` called `app`."""

    name: str
    module: str
    help: str

    @property
    def exists(self) -> bool:
        return find_spec(self.module) is not None


_SUMMARY = re.compile(r'^SUMMARY = "(.+)"$', re.MULTILINE)
_ORDER = re.compile(r"^ORDER = (\d+)$", re.MULTILINE)


def discover(directory: Path) -> tuple[Command, ...]:
    """Return the commands whose modules are in `directory`, sorted by `ORDER`; no module is imported.

    A command has the name of its file, without the trailing underscore that avoids a Python keyword.
    """
    found = []
    for file in directory.glob("[!_]*.py"):
        text = file.read_text(encoding="utf-8")
        summary, order = _SUMMARY.search(text), _ORDER.search(text)
        if summary is not None and order is not None:
            name = file.stem.rstrip("_").replace("_", "-")
            found.append((int(order[1]), Command(name, f"{__package__}.{file.stem}", summary[1])))
    return tuple(command for _, command in sorted(found, key=lambda item: (item[0], item[1].name)))


class LazyGroup(TyperGroup):
    """A group over a table of `Command`s; subclasses set `table`."""

    table: tuple[Command, ...] = ()
    # Names that other tools use for one of our commands, each with the rest of a sentence that starts with that name.
    hints: Mapping[str, str] = {}

    def list_commands(self, ctx: Any) -> list[str]:
        return [command.name for command in self.table if command.exists]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        found = next((command for command in self.table if command.name == cmd_name and command.exists), None)
        if found is None:
            return None
        command = typer.main.get_command(import_module(found.module).app)
        command.name = cmd_name
        # Completion is installed for the program, not for each command.
        command.params = [item for item in command.params if item.name not in _COMPLETION_OPTIONS]
        _plain_help(command)
        _with_environment(command)
        return command

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        name, names = args[0], self.list_commands(ctx)
        if name not in names and not name.startswith("-") and not ctx.resilient_parsing:
            near = nearest(name, names)
            hint = self.hints.get(name) or (f"Did you mean {near!r}?" if near else "")
            ctx.fail(f"No such command {name!r}. {hint}".rstrip())
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        rows = [(command.name, command.help) for command in self.table if command.exists]
        with formatter.section("Commands"):
            formatter.write_dl(rows)

    def shell_complete(self, ctx: Any, incomplete: str) -> Any:
        from typer.core import CompletionItem  # type: ignore[attr-defined]  # not re-exported; there since typer 0.12

        rows = [command for command in self.table if command.name.startswith(incomplete) and command.exists]
        items = [CompletionItem(command.name, help=command.help) for command in rows]
        return items + super(TyperGroup, self).shell_complete(ctx, incomplete)

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt as error:
            # Typer would exit with 130; our exit codes have one for this.
            raise CancelledError("interrupted") from error


def _with_environment(command: Any) -> None:
    """Give every command that takes a city the option of its environment, so that none can be without it."""
    if any(item.name == "path" and item.metavar == CITY_METAVAR for item in command.params):
        command.params = [*command.params, environment_option()]
    for child in getattr(command, "commands", {}).values():
        _with_environment(child)


def _plain_help(command: Any) -> None:
    """Disable Rich markup in the help of all commands, whatever a module's own app sets."""
    command.rich_markup_mode = None
    for child in getattr(command, "commands", {}).values():
        _plain_help(child)
