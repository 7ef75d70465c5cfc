"""`wecityctl render`: writes a city's manifests, without access to a cloud."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from wecityctl.cli import _options as o
from wecityctl.cli._common import EPILOG, HERE, CityPath, note, say
from wecityctl.errors import ConfigurationError
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
    from wecityctl.engine.sdk.render import join
    from wecityctl.operations.offline import render_city
    from wecityctl.session import open_session

    session = open_session(path)
    files = render_city(session, tuple(only or ()))
    if directory is None:
        say(join(files).rstrip("\n"))
        return
    _write(directory, files)
    note(f"{counted(len(files), 'manifest')} written to {directory}")


def _write(directory: Path, files: dict[str, str]) -> None:
    if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
        raise ConfigurationError(f"{directory} is not an empty directory", resolution="name another one")
    for name, text in files.items():
        target = directory / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8")
