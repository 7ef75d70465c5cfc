"""`wecityctl open`: tells where an app is reached, or forwards a local port to it."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from typing import Annotated

import typer

from wecityctl.cli._arguments import PathBeforeName
from wecityctl.cli._common import EPILOG, HERE, CityPath, Output, OutputOption, json_text, note, say, say_json
from wecityctl.cli._complete import complete_target
from wecityctl.cli._looking import open_to_look
from wecityctl.cli._options import duration

SUMMARY = "Show where an app is reached, or forward a port to it."
ORDER = 118
app = typer.Typer()
_FORWARDED_SECONDS = 3600.0


@app.command(
    name="open",
    cls=PathBeforeName,
    epilog=EPILOG.format(
        "wecityctl open examples/xingcheng health-code",
        "wecityctl open examples/xingcheng health-code/web --forward",
        "wecityctl open examples/xingcheng health-code --forward --local-port 8080 --for 10m",
    ),
)
def open_(
    path: CityPath = HERE,
    *,
    name: Annotated[
        str,
        typer.Argument(
            metavar="APP",
            help="The app, as NAME or TENANT/NAME; with --forward also a component of it, as APP/COMPONENT.",
            show_default=False,
            autocompletion=complete_target,
        ),
    ],
    forward: Annotated[
        bool, typer.Option("--forward", help="Forward a port of 127.0.0.1 to a pod, until Ctrl-C or the time of --for.")
    ] = False,
    port: Annotated[
        str, typer.Option("--port", show_default="the main one", help="This port of the component, by name or number.")
    ] = "",
    local_port: Annotated[
        int, typer.Option("--local-port", min=0, max=65535, show_default="any", help="This port of this machine.")
    ] = 0,
    pod: Annotated[str, typer.Option("--pod", help="To this pod. Without it, to the newest one that is ready.")] = "",
    seconds: Annotated[
        float | None,
        typer.Option(
            "--for",
            metavar="DURATION",
            parser=duration,
            show_default="1h",
            help="End after this time: 90s, 10m, 1h30m.",
        ),
    ] = None,
    output: OutputOption = Output.TEXT,
) -> None:
    """Show the address at which the entry point serves an app, and a command that reaches it from this machine.

    With --forward, a port of this machine leads to a pod of the app, past the entry point. Only processes of your own
    user are let through. That it was forwarded, and by whom, is noted beside the city's states.
    """
    from wecityctl.errors import ConfigurationError
    from wecityctl.operations import open as operation
    from wecityctl.operations.rollouts.planning import open_current

    if not forward and (port or local_port or pod):
        raise ConfigurationError("--port, --local-port and --pod are for --forward", resolution="add --forward")
    session = open_current(path) if forward else open_to_look(path)
    is_json = output is Output.JSON
    if not forward:
        found = operation.app_address(session, name)
        if is_json:
            say_json({"city": session.city.name, **asdict(found), "notes": list(found.notes)})
            return
        say(found.url)
        if found.curl:
            note(f"from this machine: {found.curl}")
        for text in found.notes:
            note(text)
        return

    def tell(event: operation.Forwarding | operation.Refused) -> None:
        if isinstance(event, operation.Refused):
            note(event.reason)
            return
        if is_json:
            say(json.dumps(json.loads(json_text({"city": session.city.name, **asdict(event)})), ensure_ascii=False))
        else:
            say(event.url)
        sys.stdout.flush()
        note(f"leads to port {event.port} of {event.pod}, for your own processes alone; Ctrl-C ends it")

    options = operation.ForwardOptions(
        target=name, port=port, local_port=local_port, pod=pod, seconds=seconds or _FORWARDED_SECONDS
    )
    operation.forward(session, options, tell)
