"""`wecityctl catalog`: shows the capability types that cities may use, built in and from partners' packages."""

from __future__ import annotations

from typing import Annotated

import typer

from wecityctl.cli._common import EPILOG, Output, OutputOption, console, say, say_json
from wecityctl.errors import ConfigurationError
from wecityctl.guesses import nearest

SUMMARY = "List the capabilities that platforms can have."
ORDER = 150
app = typer.Typer(
    name="catalog",
    help="The capabilities that a city's platforms can have.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


def complete_type(incomplete: str) -> list[str]:
    """The names of capability types; none where a partner's package cannot be loaded."""
    from stacks.catalogue import load_catalogue
    from wecityctl.errors import WecityError

    try:
        names = load_catalogue()
    except (WecityError, ImportError):
        return []
    return sorted(name for name in names if name.startswith(incomplete))


@app.command("list", epilog=EPILOG.format("wecityctl catalog list", "wecityctl catalog list -o json"))
def list_types(output: OutputOption = Output.TEXT) -> None:
    """List the capability types with their platform and what they use."""
    from stacks.catalogue import load_catalogue
    from wecityctl.report.catalogue import type_json, type_table
    from wecityctl.report.tables import print_table

    kinds = load_catalogue().values()
    if output is Output.JSON:
        say_json({"types": [type_json(kind) for kind in sorted(kinds, key=lambda item: (item.platform, item.name))]})
        return
    print_table(console(), type_table(kinds))


@app.command(epilog=EPILOG.format("wecityctl catalog show postgresql", "wecityctl catalog show cache -o json"))
def show(
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME", help="The capability type's name.", autocompletion=complete_type, show_default=False
        ),
    ],
    output: OutputOption = Output.TEXT,
) -> None:
    """Show one capability type: ports, pods by size, what it uses and what its users receive."""
    from stacks.catalogue import load_catalogue
    from wecityctl.report.catalogue import type_json, type_text

    kinds = load_catalogue()
    if name not in kinds:
        near = nearest(name, kinds)
        raise ConfigurationError(
            f"there is no capability type {name!r}",
            details="types: " + ", ".join(sorted(kinds)),
            resolution=f"did you mean {near!r}?" if near else "install the partner's package that brings it",
        )
    if output is Output.JSON:
        say_json({"type": type_json(kinds[name])})
        return
    for line in type_text(kinds[name]):
        say(line)
