"""`wecityctl outputs`: shows the outputs of the stacks."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from wecityctl.cli._common import EPILOG, HERE, CityPath, Output, OutputOption, say, say_json
from wecityctl.cli._options import Stack
from wecityctl.errors import NoSuchStackError

SUMMARY = "Show the stacks' outputs, such as addresses."
ORDER = 90
app = typer.Typer()


@app.command(
    epilog=EPILOG.format("wecityctl outputs examples/xingcheng", "wecityctl outputs examples/xingcheng --stack entry")
)
def outputs(
    path: CityPath = HERE,
    stack: Stack = "",
    show_secrets: Annotated[
        bool, typer.Option("--show-secrets", help="Show secret values, such as a landing zone's kubeconfig.")
    ] = False,
    output: OutputOption = Output.TEXT,
) -> None:
    """Show the outputs of the city's stacks. The secret store's values are never shown, others' only when asked for."""
    from wecityctl.engine.context.landing_outputs import redacted
    from wecityctl.engine.state.backend import open_backend
    from wecityctl.operations.current_placement import current_placement
    from wecityctl.session import open_session

    session = open_session(path, current_placement)
    plan = session.plan
    wanted = plan.stacks if not stack else [item for item in plan.only([stack]).stacks if stack in item.name]
    backend = open_backend(session.city)
    found = {}
    for item in wanted:
        state = backend.read_state(item.name) if item.layer != "secrets" else None
        if state is not None and state.outputs is not None:
            found[item.name] = dict(state.outputs) if show_secrets else redacted(state.outputs)
    if not found:
        raise NoSuchStackError(
            f"{session.city.name} has no outputs" + (f" of {stack!r}" if stack else ""),
            resolution=f"bring it up first: wecityctl up {path}",
        )
    if output is Output.JSON:
        say_json({"city": session.city.name, "outputs": found})
        return
    for name, values in found.items():
        say(name)
        for key, value in values.items():
            is_line = isinstance(value, str) and "\n" not in value
            say(f"  {key}: {value if is_line else json.dumps(value, ensure_ascii=False)}")
