"""`import`: generates the Cloud document for a cluster, or a vendor's network and cluster, that exists.

Changes nothing in any cloud. The document is returned, and written where a file or directory is named.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wecityctl.errors import ConfigurationError
from wecityctl.importing.cloud_document import ImportOptions, Named, adopt_cluster, adopt_landing
from wecityctl.importing.document import Imported, as_mapping, as_text
from wecityctl.importing.files import refuse_known_cloud, write_new, zones_of
from wecityctl.importing.inventory import inventory
from wecityctl.model.events import Diagnostic, Emit

if TYPE_CHECKING:
    from wecityctl.importing.vendors import DiscoveredFacts
    from wecityctl.model.vendors import Vendor

__all__ = ["CloudDocument", "CloudRequest", "Named", "import_cluster", "import_landing"]


@dataclass(frozen=True, slots=True, kw_only=True)
class CloudRequest:
    """What the Cloud is to say beside what is found, and where it is written: a city's `directory`, a new `file`, or
    neither.

    Without `zones`, those of the City in the directory are used. `kubeconfig` and `context` name a cluster to read, by
    default kubectl's.
    """

    name: str
    zones: tuple[str, ...] = ()
    storage_class: str = ""
    ingress_class: str = ""
    kubeconfig: str = ""
    context: str = ""
    directory: Path | None = None
    file: Path | None = None

    def path_in_document(self, path: str) -> str:
        """Return a path of the caller as the document has to say it: relative to where it is written, else absolute."""
        if not path or path.startswith("~") or Path(path).is_absolute():
            return path
        folder = self.directory or (self.file.parent if self.file is not None else None)
        return os.path.relpath(path, folder) if folder is not None else str(Path(path).absolute())


@dataclass(frozen=True, slots=True)
class CloudDocument:
    """The document as text and as a mapping, remarks for whoever completes it, and the file that it was written to."""

    text: str
    document: Mapping[str, Any]
    notes: tuple[str, ...]
    file: Path | None


def import_cluster(request: CloudRequest) -> CloudDocument:
    """Read a cluster and return the Cloud that adopts it.

    Raises the errors of the Kubernetes client, and `ConfigurationError` if the city has the cloud or the file exists.
    """
    options = _options(request)
    found = inventory(request.kubeconfig, request.context)
    return _written(adopt_cluster(options, request.path_in_document(request.kubeconfig), found), request)


def import_landing(
    request: CloudRequest, vendor: Vendor, named: Named, emit: Emit, *, read: bool | None = None
) -> CloudDocument:
    """Return the Cloud for a vendor's network and cluster, with the pools of the cluster that the request names.

    With `read` what is named is read through the vendor's plug-in; `None`: if plug-in and credentials are there,
    otherwise a diagnostic says why not. Raises as `import_cluster` does, and what a missing prerequisite raises.
    """
    options = _options(request, has_zones=bool(named.subnets))
    facts = _facts(vendor, named, request.name, read, emit)
    has_cluster = bool(request.kubeconfig or request.context)
    found = inventory(request.kubeconfig, request.context) if has_cluster else None
    return _written(adopt_landing(options, vendor, named, facts, found), request)


def _options(request: CloudRequest, *, has_zones: bool = False) -> ImportOptions:
    """Return the options of the document; without zones among them, the city's own are used."""
    chosen = tuple(dict.fromkeys(request.zones))
    if request.directory is not None:
        if not request.directory.is_dir():
            raise ConfigurationError(f"{request.directory} is not a directory", resolution="make it, or use --file")
        refuse_known_cloud(request.directory, request.name)
        chosen = chosen or (() if has_zones else zones_of(request.directory))
    return ImportOptions(request.name, chosen, request.storage_class, request.ingress_class)


def _facts(vendor: Vendor, named: Named, name: str, read: bool | None, emit: Emit) -> DiscoveredFacts | None:
    """Return what the plug-in reads; `None` if it must not or cannot read, with the reasons emitted."""
    from wecityctl.importing import reading

    if read is False:
        return None
    missing_prerequisites = reading.missing_prerequisites(vendor, name)
    if missing_prerequisites and read:
        raise missing_prerequisites[0]
    for lack in missing_prerequisites:
        text = f"not looked at: {lack.message}" + (f"\n  → {lack.resolution}" if lack.resolution else "")
        emit(Diagnostic("", "info", text))
    return None if missing_prerequisites else reading.read(vendor, named)


def _written(imported: Imported, request: CloudRequest) -> CloudDocument:
    text = as_text(imported)
    path = request.directory / imported.file_name if request.directory is not None else request.file
    if path is not None:
        write_new(path, text)
    return CloudDocument(text, as_mapping(imported.cloud), tuple(imported.notes), path)
