"""`wecityctl migrate`: renames fields in a city's files that this release has renamed."""

from __future__ import annotations

from typing import Annotated

import typer

from wecityctl.cli._common import EPILOG, HERE, CityPath, Output, OutputOption, say, say_json
from wecityctl.model.words import counted

SUMMARY = "Rename fields that an earlier release called otherwise."
ORDER = 170
app = typer.Typer(rich_markup_mode=None)


@app.command(
    epilog=EPILOG.format(
        "wecityctl migrate examples/xingcheng --dry-run",
        "wecityctl migrate city.yaml",
    )
)
def migrate(
    files: CityPath = HERE,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would be renamed; write nothing.")] = False,
    output: OutputOption = Output.TEXT,
) -> None:
    """Rename fields of a city's files that an earlier release called otherwise.

    Comments and layout stay. Each file is replaced in one step and keeps its permissions.
    """
    from wecityctl.operations import migrate as operation

    migrated = operation.migrate(files, dry_run=dry_run)
    renamings = [item for file in migrated for item in file.renamings]
    if output is Output.JSON:
        say_json(
            {
                "written": not dry_run and bool(migrated),
                "renamed": [
                    {"file": item.file, "line": item.line, "column": item.column, "old": item.old, "new": item.new}
                    for item in renamings
                ],
            }
        )
        return
    for item in renamings:
        say(f"{item.file}:{item.line}:{item.column}: {item.old} → {item.new}")
    if not renamings:
        say(f"{files} needs no change")
    else:
        done = "would be renamed" if dry_run else "renamed"
        say(f"{counted(len(renamings), 'field')} {done} in {counted(len(migrated), 'file')}")
