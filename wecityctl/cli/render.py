"""`wecityctl render`: writes a city's manifests, without access to a cloud."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from wecityctl.cli import _options as o
from wecityctl.cli._common import EPILOG, HERE, CityPath, note, say
from wecityctl.model.words import counted

SUMMARY = "Write a city's manifests without a cloud; secrets redacted."
ORDER = 120
app = typer.Typer()


@app.command(
    epilog=EPILOG.format(
        "wecityctl render examples/xingcheng",
        "wecityctl render examples/xingcheng --only transport-bureau --directory manifests",
    )
)
def render(
    path: CityPath = HERE,
    only: o.Only = None,
    directory: Annotated[
        Path | None,
        typer.Option("--directory", "-d", metavar="DIR", help="Write a file for each object here; must be empty."),
    ] = None,
) -> None:
    """Write the manifests of the city's stacks to stdout or a directory. Secrets are redacted; no cloud is asked."""
    from wecityctl.operations import render as operation
    from wecityctl.session import open_session

    files = operation.render(open_session(path), tuple(only or ()))
    if directory is None:
        say(operation.as_one_document(files).rstrip("\n"))
        return
    operation.write_manifests(files, directory)
    note(f"{counted(len(files), 'manifest')} written to {directory}")
