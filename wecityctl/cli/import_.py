"""`wecityctl import`: generates the Cloud document for existing infrastructure: a cluster, or a vendor's network and
cluster.

Changes nothing in any cloud. The document goes to stdout, or into a new file; remarks go to stderr.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from wecityctl.cli._common import EPILOG, complete_city_path, note, say, say_json
from wecityctl.errors import ConfigurationError
from wecityctl.model.vendors import Vendor, vendors

if TYPE_CHECKING:
    from wecityctl.model.events import Event
    from wecityctl.operations.importing import CloudDocument

SUMMARY = "Write the Cloud document for what exists already."
ORDER = 250
app = typer.Typer(
    name="import",
    help="Write the Cloud document for a cluster or network that exists. Changes nothing in any cloud.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


class DocumentFormat(StrEnum):
    """How the document is written."""

    YAML = "yaml"
    JSON = "json"


def complete_contexts(ctx: typer.Context, incomplete: str) -> list[str]:
    """The contexts of the kubeconfig that the command line names, or of the usual ones."""
    from wecityctl.errors import WecityError
    from wecityctl.kube.config import context_names

    try:
        names = context_names(ctx.params.get("kubeconfig") or None)
    except WecityError:
        return []
    return [name for name in names if name.startswith(incomplete)]


def complete_paths(incomplete: str) -> list[str]:
    """Files and directories: a kubeconfig has no suffix of its own."""
    folder, slash, start = incomplete.rpartition("/")
    base = Path(f"{folder}/" if slash else ".").expanduser()
    try:
        entries = sorted(base.iterdir())
    except OSError:
        return []
    prefix = f"{folder}{slash}"
    shown = [entry for entry in entries if entry.name.startswith(start) and (start or not entry.name.startswith("."))]
    return [f"{prefix}{entry.name}{'/' if entry.is_dir() else ''}" for entry in shown]


Name = Annotated[str, typer.Option("--name", metavar="NAME", help="The cloud's name in the city's files.")]
Zones = Annotated[
    list[str] | None,
    typer.Option(
        "--zone",
        metavar="ZONE",
        help="A zone of the city that the cloud serves; may be repeated. By default those of the City in --directory.",
    ),
]
Kubeconfig = Annotated[
    str,
    typer.Option(
        "--kubeconfig", metavar="FILE", help="A kubeconfig; by default as kubectl.", autocompletion=complete_paths
    ),
]
Context = Annotated[
    str,
    typer.Option(
        "--context",
        metavar="CONTEXT",
        help="A context of the kubeconfig; by default the current one.",
        autocompletion=complete_contexts,
    ),
]
ClusterContext = Annotated[
    str,
    typer.Option(
        "--context",
        metavar="CONTEXT",
        help="Read the pools from the cluster that this context of the kubeconfig reaches.",
        autocompletion=complete_contexts,
    ),
]
StorageClass = Annotated[str, typer.Option("--storage-class", metavar="CLASS", help="The cluster's class for volumes.")]
IngressClass = Annotated[
    str, typer.Option("--ingress-class", metavar="CLASS", help="The cluster's class for routes, in place of a gateway.")
]
Directory = Annotated[
    Path | None,
    typer.Option(
        "--directory",
        metavar="DIRECTORY",
        help="A city's directory: write cloud-NAME.yaml into it.",
        autocompletion=complete_city_path,
    ),
]
File = Annotated[
    Path | None,
    typer.Option("--file", metavar="FILE", help="Write to this new file.", autocompletion=complete_city_path),
]
Format = Annotated[DocumentFormat, typer.Option("--output", "-o", help="How to write the document.")]
Region = Annotated[
    str, typer.Option("--region", metavar="REGION", help="The vendor's name of the region.", show_default=False)
]
NetworkId = Annotated[
    str, typer.Option("--network", metavar="ID", help="The network's identifier.", show_default=False)
]
Cidr = Annotated[
    str, typer.Option("--cidr", metavar="RANGE", help="The network's address range, where it cannot be read.")
]
SubnetIds = Annotated[
    list[str] | None,
    typer.Option("--subnet", metavar="ZONE=ID", help="The subnet of one of the city's zones; may be repeated."),
]
ClusterId = Annotated[str, typer.Option("--cluster", metavar="ID", help="The managed cluster's identifier.")]
Settings = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="NAME=VALUE",
        help="A setting of the vendor's block, such as availabilityZones=a,b; may be repeated.",
    ),
]
Read = Annotated[
    bool | None,
    typer.Option(
        "--read/--no-read",
        help="Look at what is named through the vendor's plug-in; by default where plug-in and credentials are here.",
        show_default=False,
    ),
]


@app.command(
    epilog=EPILOG.format(
        "wecityctl import kubernetes --context prod --name main --zone internet",
        "wecityctl import kubernetes --kubeconfig prod.kubeconfig --directory examples/adopt --name prod",
        "wecityctl import kubernetes -o json",
    )
)
def kubernetes(
    name: Name = "main",
    context: Context = "",
    kubeconfig: Kubeconfig = "",
    zone: Zones = None,
    storage_class: StorageClass = "",
    ingress_class: IngressClass = "",
    directory: Directory = None,
    file: File = None,
    output: Format = DocumentFormat.YAML,
) -> None:
    """Read a cluster and write the Cloud that adopts it.

    Its nodes become pools by architecture, size, accelerators, availability zone and instance type.
    """
    from wecityctl.operations.importing import CloudRequest, import_cluster

    _refuse_both(directory, file)
    request = CloudRequest(
        name=name,
        zones=tuple(zone or ()),
        storage_class=storage_class,
        ingress_class=ingress_class,
        kubeconfig=kubeconfig,
        context=context,
        directory=directory,
        file=file,
    )
    _show(import_cluster(request), directory, output)


def _register(vendor: Vendor) -> None:
    """Register the command of one vendor; all have the same options."""

    @app.command(
        vendor.provider,
        help=f"Write the Cloud for a network and cluster that exist on {vendor.title}.\n\n"
        "What is named is read through the vendor's plug-in where that is here; otherwise it is only written down.",
        epilog=EPILOG.format(*(f"wecityctl import {vendor.provider} {each}" for each in vendor.import_examples)),
    )
    def command(
        region: Region,
        network: NetworkId,
        name: Name = "main",
        cidr: Cidr = "",
        subnet: SubnetIds = None,
        cluster: ClusterId = "",
        zone: Zones = None,
        settings: Settings = None,
        read: Read = None,
        context: ClusterContext = "",
        kubeconfig: Kubeconfig = "",
        storage_class: StorageClass = "",
        ingress_class: IngressClass = "",
        directory: Directory = None,
        file: File = None,
        output: Format = DocumentFormat.YAML,
    ) -> None:
        from wecityctl.operations.importing import CloudRequest, Named, import_landing

        named = Named(region, network, _pairs("--subnet", subnet), cluster, _pairs("--set", settings), cidr)
        _refuse_both(directory, file)
        request = CloudRequest(
            name=name,
            zones=tuple(zone or ()),
            storage_class=storage_class,
            ingress_class=ingress_class,
            kubeconfig=kubeconfig,
            context=context,
            directory=directory,
            file=file,
        )
        _show(import_landing(request, vendor, named, _tell, read=read), directory, output)


for _vendor in vendors().values():
    _register(_vendor)


def _refuse_both(directory: Path | None, file: Path | None) -> None:
    if directory is not None and file is not None:
        raise ConfigurationError("--directory and --file exclude each other")


def _pairs(option: str, given: list[str] | None) -> Mapping[str, str]:
    """Parse options of the form KEY=VALUE; each key may occur once."""
    found: dict[str, str] = {}
    for text in given or ():
        key, equals, value = text.partition("=")
        if not (key and equals and value):
            raise ConfigurationError(f"{option} {text}: expected two texts with = between them")
        if key in found:
            raise ConfigurationError(f"{option} names {key} twice")
        found[key] = value
    return found


def _tell(event: Event) -> None:
    from wecityctl.model.events import Diagnostic

    if isinstance(event, Diagnostic):
        note(event.message)


def _show(found: CloudDocument, directory: Path | None, output: DocumentFormat) -> None:
    if output is DocumentFormat.JSON:
        file = str(found.file) if found.file is not None else None
        say_json({"document": found.document, "file": file, "notes": list(found.notes)})
    elif found.file is None:
        say(found.text.rstrip())
    for remark in found.notes:
        note(remark)
    if found.file is not None:
        note(f"wrote {found.file}; then: wecityctl validate {directory or found.file.parent}")
