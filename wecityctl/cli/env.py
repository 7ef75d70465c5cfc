"""`wecityctl env`: prints the environment with which plain `pulumi` can access a city's stacks."""

from __future__ import annotations

import shlex

import typer

from wecityctl.cli._common import EPILOG, HERE, CityPath, Output, OutputOption, note, say, say_json

SUMMARY = "Print the environment in which plain `pulumi` sees a city's stacks."
ORDER = 220
app = typer.Typer()


@app.command(
    epilog=EPILOG.format("wecityctl env examples/xingcheng -o json", 'eval "$(wecityctl env examples/xingcheng)"')
)
def env(path: CityPath = HERE, output: OutputOption = Output.TEXT) -> None:
    """Print the environment in which plain `pulumi` sees the city's stacks.

    Read with it, and refresh or repair; changes to resources belong into the city's files.
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
