"""`wecityctl import`: generates the Cloud document for existing infrastructure: a cluster, or a vendor's network and
cluster.

Changes nothing in any cloud. The document goes to stdout, or into a new file; remarks go to stderr.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from wecityctl.cli._common import EPILOG, complete_city_path, note, say, say_json
from wecityctl.errors import ConfigurationError
from wecityctl.model.vendors import Vendor, vendors

if TYPE_CHECKING:
    from wecityctl.importing.cloud_document import ImportOptions, Named
    from wecityctl.importing.document import Imported
    from wecityctl.importing.inventory import ClusterInventory
    from wecityctl.importing.vendors import DiscoveredFacts

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


@dataclass(frozen=True, slots=True)
class _Target:
    """Where the document goes: a directory's file, a file, or stdout."""

    directory: Path | None
    file: Path | None
    format: DocumentFormat

    def path(self, imported: Imported) -> Path | None:
        return self.directory / imported.file_name if self.directory is not None else self.file

    def path_in_document(self, path: str) -> str:
        """A path of the command line as the document has to say it: relative to where it is written, else absolute."""
        if not path or path.startswith("~") or Path(path).is_absolute():
            return path
        folder = self.directory or (self.file.parent if self.file is not None else None)
        return os.path.relpath(path, folder) if folder is not None else str(Path(path).absolute())


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
    from wecityctl.importing.cloud_document import adopt_cluster
    from wecityctl.importing.inventory import inventory

    target = _Target(directory, file, output)
    wanted = _wanted(target, name, zone, storage_class, ingress_class)
    _write(adopt_cluster(wanted, target.path_in_document(kubeconfig), inventory(kubeconfig, context)), target)


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
        from wecityctl.importing.cloud_document import Named, adopt_landing

        target = _Target(directory, file, output)
        named = Named(region, network, _pairs("--subnet", subnet), cluster, _pairs("--set", settings), cidr)
        wanted = _wanted(target, name, zone, storage_class, ingress_class, has_zones=bool(named.subnets))
        facts = _facts(vendor, named, name, read)
        inventory = _inventory(kubeconfig, context)
        _write(adopt_landing(wanted, vendor, named, facts, inventory), target)


for _vendor in vendors().values():
    _register(_vendor)


def _wanted(
    target: _Target,
    name: str,
    zones: list[str] | None,
    storage_class: str,
    ingress_class: str,
    *,
    has_zones: bool = False,
) -> ImportOptions:
    """Return the options of the user; without zones among them, the city's own are used."""
    from wecityctl.importing.cloud_document import ImportOptions
    from wecityctl.importing.files import refuse_known_cloud, zones_of

    if target.directory is not None and target.file is not None:
        raise ConfigurationError("--directory and --file exclude each other")
    chosen = tuple(dict.fromkeys(zones or ()))
    if target.directory is not None:
        if not target.directory.is_dir():
            raise ConfigurationError(f"{target.directory} is not a directory", resolution="make it, or use --file")
        refuse_known_cloud(target.directory, name)
        chosen = chosen or (() if has_zones else zones_of(target.directory))
    return ImportOptions(name, chosen, storage_class, ingress_class)


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


def _facts(vendor: Vendor, named: Named, name: str, read: bool | None) -> DiscoveredFacts | None:
    """Return what the plug-in reads; `None` if it must not or cannot read, with the reasons on stderr."""
    from wecityctl.importing import reading

    if read is False:
        return None
    missing_prerequisites = reading.missing_prerequisites(vendor, name)
    if missing_prerequisites and read:
        raise missing_prerequisites[0]
    for lack in missing_prerequisites:
        note(f"not looked at: {lack.message}" + (f"\n  → {lack.resolution}" if lack.resolution else ""))
    return None if missing_prerequisites else reading.read(vendor, named)


def _inventory(kubeconfig: str, context: str) -> ClusterInventory | None:
    from wecityctl.importing.inventory import inventory

    return inventory(kubeconfig, context) if kubeconfig or context else None


def _write(imported: Imported, target: _Target) -> None:
    from wecityctl.importing.document import as_mapping, as_text
    from wecityctl.importing.files import write_new

    text = as_text(imported)
    path = target.path(imported)
    if path is not None:
        write_new(path, text)
    if target.format is DocumentFormat.JSON:
        say_json(
            {
                "document": as_mapping(imported.cloud),
                "file": str(path) if path is not None else None,
                "notes": list(imported.notes),
            }
        )
    elif path is None:
        say(text.rstrip())
    for remark in imported.notes:
        note(remark)
    if path is not None:
        note(f"wrote {path}; then: wecityctl validate {target.directory or path.parent}")
