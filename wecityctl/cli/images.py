"""`wecityctl images`: builds images from package registries, lists them, and loads them into an embedded cloud's node.

Results on stdout, progress on stderr; errors are handled in
`cli.main`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated

import typer

from wecityctl.cli._common import EPILOG, Output, OutputOption, console, note, say, say_json
from wecityctl.errors import ConfigurationError

if TYPE_CHECKING:
    from wecityctl.operations.images import BuiltImage, ImageEvent

SUMMARY = "Build, list and load container images."
ORDER = 260
app = typer.Typer(
    name="images",
    help="Container images, built here from Debian, Python and Go packages alone.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

MIB = 1 << 20
Names = Annotated[
    list[str] | None, typer.Argument(metavar="NAME...", help="Images; all of them without any.", show_default=False)
]


@app.command(
    epilog=EPILOG.format(
        "wecityctl images build",
        "wecityctl images build postgresql cache --locked",
        "wecityctl images build --update-lock",
    )
)
def build(
    names: Names = None,
    update_lock: Annotated[
        bool, typer.Option("--update-lock", help="Take the versions served now and record them beside the recipes.")
    ] = False,
    locked: Annotated[bool, typer.Option("--locked", help="Fail where a locked version is served no more.")] = False,
    output: OutputOption = Output.TEXT,
) -> None:
    """Build images that are not built yet.

    Without an option, versions that are served no more are replaced by today's, and a notice says so.
    """
    if update_lock and locked:
        raise ConfigurationError("--update-lock and --locked exclude each other")
    from wecityctl.operations.images import Locking, build_images

    locking = Locking.UPDATE if update_lock else Locking.REQUIRE if locked else Locking.PREFER
    _show(build_images(names or (), locking, _progress), output)


@app.command("list", epilog=EPILOG.format("wecityctl images list", "wecityctl images list -o json"))
def list_images(output: OutputOption = Output.TEXT) -> None:
    """Show every image that can be built here, and whether it is.

    IMAGE is the name that `images build` and `images load` take. VERSION is that of the program in it. SIZE is the size
    of the built archive, or "not built". PACKAGES says which package versions were built in: "locked" are those
    recorded beside the recipe, "newer" are today's, taken where a recorded one is served no more. REFERENCE is the
    image's name in manifests.
    """
    from wecityctl.operations import images as operation

    rows = operation.list_images()
    if output is Output.JSON:
        say_json(
            {
                "images": [
                    {
                        "name": item.recipe.name,
                        "title": item.recipe.title,
                        "version": item.recipe.version,
                        "licence": item.recipe.licence,
                        "upstream": item.recipe.upstream,
                        "reference": item.reference,
                        "built": _document(item.built) if item.built else None,
                    }
                    for item in rows
                ]
            }
        )
        return
    from wecityctl.report.tables import new_table, print_table

    table = new_table(("IMAGE", "VERSION", "SIZE", "PACKAGES", "REFERENCE"), right=("SIZE",))
    for item in rows:
        size = f"{item.built.size / MIB:.1f} MiB" if item.built else "not built"
        packages = "–" if item.built is None else "locked" if item.built.locked else "newer"
        table.add_row(item.recipe.name, item.recipe.version, size, packages, item.reference)
    print_table(console(), table)


@app.command(
    epilog=EPILOG.format(
        "wecityctl images load --cloud xingcheng-main", "wecityctl images load sample-app --cloud main"
    )
)
def load(
    cloud: Annotated[str, typer.Option("--cloud", help="The embedded cloud, as `wecityctl local status` names it.")],
    names: Names = None,
) -> None:
    """Load images into the real node of a running embedded cloud, built first where they are not."""
    from wecityctl.operations.images import load_images

    imported = load_images(cloud, names or (), _progress)
    for reference in imported:
        say(reference)
    if not imported:
        note(f"the node of {cloud} has them all")


def _progress(event: ImageEvent) -> None:
    time = f" ({event.seconds:.1f} s)" if event.seconds else ""
    note(f"{event.image:<11} {event.phase:<9} {event.message}{time}".rstrip())


def _show(images: Iterable[BuiltImage], output: Output) -> None:
    if output is Output.JSON:
        say_json({"images": [_document(image) for image in images]})
        return
    for image in images:
        say(f"{image.name:<11} {image.size / MIB:7.1f} MiB  {image.reference}  {image.digest}")


def _document(image: BuiltImage) -> dict[str, object]:
    return {
        "name": image.name,
        "reference": image.reference,
        "digest": image.digest,
        "size": image.size,
        "archive": str(image.archive),
        "locked": image.locked,
    }
