"""`wecityctl images`: builds images from package registries, lists, loads and pushes them.

Results on stdout, progress on stderr; errors are handled in
`cli.main`.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from wecityctl.cli._common import EPILOG, HERE, CityPath, Output, OutputOption, console, note, say, say_json
from wecityctl.errors import ConfigurationError
from wecityctl.model.severity import Severity

if TYPE_CHECKING:
    from wecityctl.operations.images import BuiltImage, ImageEvent

SUMMARY = "Build, list, load and push container images."
ORDER = 260
app = typer.Typer(
    name="images",
    help="Container images, built here from Debian, Python and Go packages alone.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

MIB = 1 << 20
Names = Annotated[
    list[str] | None, typer.Argument(metavar="NAME", help="Images; all of them without any.", show_default=False)
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


@app.command(
    epilog=EPILOG.format(
        "wecityctl images push . --dry-run",
        "wecityctl images push . --image postgresql --to registry -o json",
    )
)
def push(
    path: CityPath = HERE,
    *,
    images: Annotated[
        list[str] | None,
        typer.Option(
            "--image", metavar="NAME", help="Only this image; all that the city needs without it. Repeatable."
        ),
    ] = None,
    to: Annotated[
        str, typer.Option("--to", metavar="CAPABILITY", help="Only to this registry of the city.", show_default=False)
    ] = "",
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what would be sent; build and push nothing.")
    ] = False,
    output: OutputOption = Output.TEXT,
) -> None:
    """Push the city's own images to its registry: those that its capabilities and apps need, built first if missing.

    The registry is a capability of type `registry`, reached through its cluster's API server. What it has already is
    not sent, so that the command can be run again after it was interrupted.
    """
    from wecityctl.cli import _pushes as render
    from wecityctl.operations import images_push as operation
    from wecityctl.operations.rollouts.planning import open_current

    options = operation.PushOptions(images=tuple(images or ()), capability=to, dry_run=dry_run)
    session = open_current(path)
    found = operation.push_images(session, options, _progress, render.Progress(note))
    if output is Output.JSON:
        say_json({"city": session.city.name, "dry_run": dry_run, "registries": render.documents(found)})
    else:
        render.show(found)


@app.command(
    epilog=EPILOG.format(
        "wecityctl images inventory examples/xingcheng",
        "wecityctl images inventory examples/xingcheng --vulnerabilities osv/ --fail-on high -o json",
    )
)
def inventory(
    path: CityPath = HERE,
    vulnerabilities: Annotated[
        list[Path] | None,
        typer.Option(
            "--vulnerabilities",
            metavar="FILE",
            help="Known vulnerabilities in the OSV format: .json, .jsonl, .zip, or a directory of these. Repeatable.",
            show_default=False,
        ),
    ] = None,
    fail_on: Annotated[
        Severity | None,
        typer.Option(
            "--fail-on", help="End with 5 if a finding is that bad, or its severity is not known.", show_default=False
        ),
    ] = None,
    output: OutputOption = Output.TEXT,
) -> None:
    """Show every image that runs in a city, by digest: where it comes from, who runs it, and what is in it.

    Packages are those in the locks and Go modules of images that are built here. Nothing is fetched: bring the files
    with known vulnerabilities, such as those that osv.dev publishes for each ecosystem.
    """
    if fail_on is not None and not vulnerabilities:
        raise ConfigurationError(
            "--fail-on needs known vulnerabilities", resolution="name them: --vulnerabilities FILE"
        )
    from wecityctl.cli import _inventory as render
    from wecityctl.operations import inventory as operation

    found = operation.inventory(path, vulnerabilities or (), fail_on)
    if output is Output.JSON:
        say_json(render.document(found))
    else:
        render.show(found)
    raise typer.Exit(found.exit_code)


@app.command(epilog=EPILOG.format("wecityctl images sbom postgresql", "wecityctl images sbom --directory bills"))
def sbom(
    names: Names = None,
    directory: Annotated[
        Path | None,
        typer.Option("--directory", "-d", help="Write NAME.cdx.json for each image there.", show_default=False),
    ] = None,
    architecture: Annotated[str, typer.Option("--architecture", help="Of the images' packages.")] = "amd64",
) -> None:
    """Write what is in images that are built here, as CycloneDX 1.6 (ECMA-424) in JSON.

    Without --directory, the one image that is named is printed.
    """
    if directory is None and len(names or ()) != 1:
        raise ConfigurationError(
            "one image can be printed", resolution="name one, or write several: --directory DIRECTORY"
        )
    from wecityctl.operations.inventory import bills_of_materials

    bills = bills_of_materials(names or (), architecture)
    if directory is None:
        (text,) = bills.values()
        say(text.rstrip("\n"))
        return
    try:
        directory.mkdir(parents=True, exist_ok=True)
        for name, text in bills.items():
            (directory / f"{name}.cdx.json").write_text(text, encoding="utf-8")
            say(str(directory / f"{name}.cdx.json"))
    except OSError as error:
        raise ConfigurationError(
            f"{directory}: cannot be written", details=str(error.strerror or error), resolution="name another directory"
        ) from error


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
