"""`wecityctl images`: builds images from package registries, lists them, and loads them into an embedded cloud's node.

A thin layer over `wecityctl.oci` and `wecityctl.local`: results on stdout, progress on stderr; errors are handled in
`cli.main`.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import typer

from wecityctl import oci
from wecityctl.cli._common import EPILOG, Output, OutputOption, note, say, say_json
from wecityctl.errors import ConfigurationError

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
    locking = oci.Locking.UPDATE if update_lock else oci.Locking.REQUIRE if locked else oci.Locking.PREFER
    wanted = names or [recipe.name for recipe in oci.catalogue()]
    _show(oci.ensure(wanted, _progress, locking=locking).values(), output)


@app.command("list", epilog=EPILOG.format("wecityctl images list", "wecityctl images list -o json"))
def list_images(output: OutputOption = Output.TEXT) -> None:
    """Show every image: its recipe's version, and whether it is built."""
    built = {image.reference: image for image in oci.stored()}
    rows = [(recipe, oci.reference(recipe.name, source="built")) for recipe in oci.catalogue()]
    if output is Output.JSON:
        say_json(
            {
                "images": [
                    {
                        "name": recipe.name,
                        "title": recipe.title,
                        "version": recipe.version,
                        "licence": recipe.licence,
                        "upstream": recipe.upstream,
                        "reference": reference,
                        "built": _document(built[reference]) if reference in built else None,
                    }
                    for recipe, reference in rows
                ]
            }
        )
        return
    for recipe, reference in rows:
        image = built.get(reference)
        state = f"{image.size / MIB:7.1f} MiB" if image else "  not built"
        remark = "  (not the locked versions)" if image and not image.locked else ""
        say(f"{recipe.name:<11} {recipe.version:<7} {state}  {reference}{remark}")


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
    socket = _containerd_of(cloud)
    from wecityctl.local.node.images import load as import_images
    from wecityctl.local.spec import ImageRef

    wanted = names or [recipe.name for recipe in oci.catalogue()]
    images = oci.ensure(wanted, _progress).values()
    imported = import_images(socket, [ImageRef(image.reference, image.archive, image.digest) for image in images])
    for reference in imported:
        say(reference)
    if not imported:
        note(f"the node of {cloud} has them all")


def _containerd_of(name: str) -> Path:
    """Return the containerd socket of the cloud's real node. Raises `ConfigurationError` if it has none."""
    from wecityctl.local import assembly
    from wecityctl.local import cloud as clouds
    from wecityctl.local.node.configure import Node
    from wecityctl.local.spec import silent

    found = assembly.load(name, silent)
    if not clouds.is_running(name):
        raise ConfigurationError(f"cloud {name} does not run", resolution=f"wecityctl local start --name {name}")
    if found.state.spec.nodes != "real":
        raise ConfigurationError(f"the nodes of cloud {name} are simulated: they hold no images")
    return Node.of(found.context).layout.containerd_socket


def _progress(event: oci.ImageEvent) -> None:
    time = f" ({event.seconds:.1f} s)" if event.seconds else ""
    note(f"{event.image:<11} {event.phase:<9} {event.message}{time}".rstrip())


def _show(images: Iterable[oci.BuiltImage], output: Output) -> None:
    if output is Output.JSON:
        say_json({"images": [_document(image) for image in images]})
        return
    for image in images:
        say(f"{image.name:<11} {image.size / MIB:7.1f} MiB  {image.reference}  {image.digest}")


def _document(image: oci.BuiltImage) -> dict[str, object]:
    return {
        "name": image.name,
        "reference": image.reference,
        "digest": image.digest,
        "size": image.size,
        "archive": str(image.archive),
        "locked": image.locked,
    }
