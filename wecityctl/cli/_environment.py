"""The option `--env` of every command that takes a city, and its completion."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from wecityctl.model.environments import choose_environment

# A command with a parameter `path` that is shown so takes a city, and gets the option. One that looks at several
# environments has a parameter of another name.
CITY_METAVAR = "PATH"
VARIABLE = "WECITYCTL_ENV"


def complete_environment(context: typer.Context, incomplete: str) -> list[str]:
    """The city's environments; none where its files cannot be read."""
    from wecityctl.cli._complete import path_of
    from wecityctl.spec.environments import read_environments

    return [name for name in read_environments(path_of(context)).names if name.startswith(incomplete)]


def _choose(value: str | None) -> str | None:
    choose_environment(value)
    return value


def _carry(
    environment: Annotated[
        str | None,
        typer.Option(
            "--env",
            metavar="NAME",
            envvar=VARIABLE,
            callback=_choose,
            expose_value=False,
            autocompletion=complete_environment,
            show_default=False,
            help="The environment to work on, as environments/NAME.yaml says; without it, the city's default one.",
        ),
    ] = None,
) -> None:
    """Carry the option: no command has it as an argument, as what loads a city asks for the run's environment."""


def environment_option() -> Any:
    """Return a new `--env` option, for one command."""
    carrier = typer.Typer(add_completion=False)
    carrier.command()(_carry)
    return typer.main.get_command(carrier).params[0]
