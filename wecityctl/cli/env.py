"""`wecityctl env`: lists and compares a city's environments, and prints the variables for plain `pulumi`."""

from __future__ import annotations

import json
import shlex
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from wecityctl.cli._common import EPILOG, HERE, CityPath, Output, OutputOption, note, say, say_json
from wecityctl.cli._environment import complete_environment

if TYPE_CHECKING:
    from wecityctl.spec.differences import Difference, Side

SUMMARY = "List and compare environments; print the variables for plain `pulumi`."
ORDER = 220
_PRINT = "print"
_WIDTH = 120


class EnvironmentGroup(TyperGroup):
    """The group; what names none of its commands is the arguments of `print`, which was `env` before there was another.

    A directory that is called like a command is written `./list`.
    """

    default = _PRINT

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        helps = ctx.help_option_names
        first = args[0] if args else self.default
        if first not in self.commands and first not in helps:
            args = [_PRINT, *args]
        return super().parse_args(ctx, args or [_PRINT])


app = typer.Typer(
    name="env",
    cls=EnvironmentGroup,
    help="A city's environments: list and compare them. Without a command, `print`.",
    rich_markup_mode=None,
)


@app.command(
    _PRINT,
    epilog=EPILOG.format(
        "wecityctl env print examples/xingcheng -o json", 'eval "$(wecityctl env examples/xingcheng)"'
    ),
)
def print_(path: CityPath = HERE, output: OutputOption = Output.TEXT) -> None:
    """Print the environment variables in which plain `pulumi` sees the city's stacks.

    Read with it, and refresh or repair; changes to resources belong into the city's files. `wecityctl env PATH` does
    the same.
    """
    from wecityctl.engine.state.backend import open_backend
    from wecityctl.engine.workers.environment import plain_environment
    from wecityctl.operations.current_placement import current_placement
    from wecityctl.session import open_session

    session = open_session(path, current_placement)
    plain = plain_environment(open_backend(session.city), session.city.kubernetes_provider)
    if output is Output.JSON:
        say_json({"variables": dict(plain.variables), "directory": str(plain.directory)})
        return
    for name, value in plain.variables.items():
        say(f"export {name}={shlex.quote(value)}")
    note(f"# pulumi -C {shlex.quote(str(plain.directory))} stack ls")


@app.command("list", epilog=EPILOG.format("wecityctl env list examples/xingcheng", "wecityctl env list city -o json"))
def list_(files: CityPath = HERE, output: OutputOption = Output.TEXT) -> None:
    """List the city's environments with the city's name and domain in each; the default one is first."""
    from wecityctl.operations.environments import list_environments

    found = list_environments(files)
    if output is Output.JSON:
        say_json(
            {
                "environments": [
                    {
                        "environment": each.name,
                        "default": each.is_default,
                        "city": each.city,
                        "domain": each.domain,
                        "files": list(each.files),
                    }
                    for each in found
                ]
            }
        )
        return
    for each in found:
        say(f"{each.name}{' (default)' if each.is_default else ''}: {each.city}, {each.domain}")


@app.command(
    epilog=EPILOG.format("wecityctl env diff test production", "wecityctl env diff test production city -o json")
)
def diff(
    first: Annotated[
        str,
        typer.Argument(metavar="ENV", help="An environment.", autocompletion=complete_environment, show_default=False),
    ],
    second: Annotated[
        str,
        typer.Argument(
            metavar="ENV", help="The one to compare it with.", autocompletion=complete_environment, show_default=False
        ),
    ],
    files: CityPath = HERE,
    output: OutputOption = Output.TEXT,
) -> None:
    """Show what differs between two environments, field by field, with the places in the files.

    Items of lists are named: spec.components[web].image. Values are those of the files, without defaults.
    """
    from wecityctl.operations import environments as operation

    found = operation.diff(files, first, second)
    if output is Output.JSON:
        say_json({"first": first, "second": second, "differences": [_as_json(item) for item in found]})
        return
    for item in found:
        subject = f"{item.document}: {item.path}" if item.path else item.document
        if not item.path:
            present = item.first or item.second
            say(f"{subject}: only in {first if item.first else second} ({present.place if present else ''})")
            continue
        say(f"{subject}: {_text(item.first)} → {_text(item.second)}")
    if not found:
        say(f"{first} and {second} do not differ")


def _text(side: Side | None) -> str:
    if side is None:
        return "nothing"
    text = json.dumps(side.value, ensure_ascii=False)
    return f"{text if len(text) <= _WIDTH else text[:_WIDTH] + '…'} ({side.place})"


def _as_json(item: Difference) -> dict[str, Any]:
    return {
        "kind": item.kind,
        "tenant": item.tenant,
        "name": item.name,
        "path": item.path,
        "first": _side_as_json(item.first),
        "second": _side_as_json(item.second),
    }


def _side_as_json(side: Side | None) -> dict[str, Any] | None:
    if side is None:
        return None
    return {"value": side.value, "file": side.place.file, "line": side.place.line, "column": side.place.column}
