"""`wecityctl schema`: the JSON Schema of the city's files, for editors."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from wecityctl.cli._common import EPILOG, note, say
from wecityctl.errors import WecityError

SUMMARY = "Write the JSON Schema of the city's files."
ORDER = 180
app = typer.Typer(rich_markup_mode=None)


@app.command(
    epilog=EPILOG.format(
        "wecityctl schema",
        "wecityctl schema -o city.schema.json",
        "# then, as a file's first line:",
        "# yaml-language-server: $schema=city.schema.json",
    )
)
def schema(
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="Write to this file; by default to stdout.")
    ] = None,
) -> None:
    """Write the JSON Schema (draft-07) of the city's files."""
    from wecityctl.spec.jsonschema import schema_text

    text = schema_text()
    if output is None:
        say(text.rstrip())
        return
    try:
        output.write_text(text, encoding="utf-8")
    except OSError as error:
        raise WecityError(f"cannot write {output}: {error.strerror or error}") from error
    note(f"wrote {output}")
