"""`wecityctl promote`: copies the images of an app from one environment to another, by digest."""

from __future__ import annotations

from typing import Annotated

import typer

from wecityctl.cli._common import EPILOG, HERE, CityPath, Output, OutputOption, note, say, say_json
from wecityctl.cli._environment import complete_environment

SUMMARY = "Copy an app's images from one environment to another."
ORDER = 225
app = typer.Typer(rich_markup_mode=None)


@app.command(
    epilog=EPILOG.format(
        "wecityctl promote health-code --from test --to production",
        "wecityctl promote health-commission/health-code/web --from test --to production city --write",
    )
)
def promote(
    subject: Annotated[
        str,
        typer.Argument(
            metavar="APP[/COMPONENT]",
            help="The app, as NAME or TENANT/NAME, and one of its components; by default all.",
            show_default=False,
        ),
    ],
    files: CityPath = HERE,
    *,
    source: Annotated[
        str, typer.Option("--from", metavar="ENV", help="Where the images are.", autocompletion=complete_environment)
    ],
    target: Annotated[
        str, typer.Option("--to", metavar="ENV", help="Where they go to.", autocompletion=complete_environment)
    ],
    write: Annotated[bool, typer.Option("--write", help="Change the file; else a patch is printed.")] = False,
    output: OutputOption = Output.TEXT,
) -> None:
    """Copy the images of an app from one environment's files to another's, by digest.

    Prints a patch of the files, or changes them with --write: comments and order stay, and nothing else changes in any
    environment. An image without a digest is refused, as its name may mean another content by now.
    """
    from wecityctl.operations import environments as operation

    found = operation.promote(files, subject, source, target, write=write)
    if output is Output.JSON:
        say_json(
            {
                "written": write and bool(found.files),
                "changes": [
                    {
                        "tenant": item.tenant,
                        "app": item.app,
                        "component": item.component,
                        "old": item.old,
                        "new": item.new,
                        "from": str(item.new_place),
                        "to": str(item.old_place),
                    }
                    for item in found.changes
                ],
                "files": [item.file.name for item in found.files],
                "inheriting": list(found.inheriting),
                "patch": found.patch,
            }
        )
        return
    for item in found.changes:
        note(f"{item.subject}: {item.old or 'nothing'} → {item.new}")
    if found.inheriting:
        note(f"also changes, as they have it from the same place: {', '.join(found.inheriting)}")
    if not found.changes:
        note(f"{subject} has the same images in {source} and {target}")
    elif write:
        for changed in found.files:
            say(f"changed {changed.file.name}")
    else:
        # The files have no control characters; a patch with escapes in it would not apply.
        say(found.patch.rstrip("\n"), raw=True)
