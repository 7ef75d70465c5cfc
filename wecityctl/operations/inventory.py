"""`images inventory` and `images sbom`: what runs in a city, the packages in it, and what is known against them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from wecityctl import oci
from wecityctl.errors import ExitCode, WecityError
from wecityctl.inventory.advisories import Finding, Matched, match
from wecityctl.inventory.contents import Contents, Package
from wecityctl.inventory.running import Running, read_running
from wecityctl.model.severity import Severity
from wecityctl.oci.image_names import Catalogue
from wecityctl.toolchain.settings import MODULES

# Recipes' archives may hold more than what the lock names.
_ARCHIVE = "holds files of others that no lock names"


@dataclass(frozen=True, slots=True)
class InventoryImage:
    """An image that runs. `recipe` is empty for one that is not built here, of which no packages are known."""

    reference: str
    digests: tuple[str, ...]
    recipe: str
    packages: tuple[Package, ...]
    running: tuple[Running, ...]
    findings: tuple[Finding, ...] = ()

    @property
    def pods(self) -> int:
        """How many pods run it."""
        return sum(item.pods for item in self.running)


@dataclass(frozen=True, slots=True)
class Inventory:
    """The images, sorted by reference. `errors` are of clouds that could not be read, `stopped` are not running.

    `advisories` is how many the given files have, `newest` when the newest of them was changed (RFC 3339); 0 and empty
    without files. `notes` say what is not known.
    """

    city: str
    images: tuple[InventoryImage, ...]
    errors: Mapping[str, WecityError]
    stopped: tuple[str, ...]
    advisories: int
    newest: str
    notes: tuple[str, ...]
    limit: Severity | None

    @property
    def findings(self) -> tuple[Finding, ...]:
        """The findings of all images, each once, worst first."""
        found = dict.fromkeys(item for image in self.images for item in image.findings)
        return tuple(sorted(found, key=lambda item: (item.severity.rank, item.package, item.advisory)))

    @property
    def exit_code(self) -> int:
        """0; 5 if a finding reaches the limit; the code of the clouds' errors if one could not be read."""
        if self.errors:
            return max(error.exit_code for error in self.errors.values())
        if self.limit is not None and any(item.severity.reaches(self.limit) for item in self.findings):
            return ExitCode.POLICY
        return ExitCode.OK


def inventory(path: Path, advisories: Sequence[Path] = (), limit: Severity | None = None) -> Inventory:
    """Return what runs in the namespaces of the city at `path`, with the known vulnerabilities in the given files.

    Changes nothing. Raises `InvalidCityError`, and `ConfigurationError` for files that are none of advisories.
    """
    from stacks.catalogue import load_catalogue
    from wecityctl.clusters import open_clusters
    from wecityctl.kube.identify import patience
    from wecityctl.spec import load_city

    catalogue = load_catalogue()
    city = load_city(path, catalogue).city
    clusters = open_clusters(city, catalogue, lambda event: None, start=False)
    running, errors = read_running(city.name, clusters.found, patience())
    known = _contents()
    # Some come from no registry: the registry's own, and those from before one was named.
    sources = {"", city.images.registry}
    names = {oci.reference(name, source="built", registry=item): name for name in known.names for item in sources}
    images = [
        _image(reference, items, _packages(known, names.get(reference, ""), city.images.architectures), names)
        for reference, items in _by_reference(running).items()
    ]
    matched = match(advisories, (item for image in images for item in image.packages)) if advisories else Matched()
    return Inventory(
        city.name,
        tuple(_with_findings(image, matched) for image in images),
        {**clusters.failed, **errors},
        tuple(sorted(clusters.stopped)),
        matched.advisories,
        matched.newest,
        tuple(_notes(images)),
        limit,
    )


def bills_of_materials(names: Sequence[str], architecture: str) -> Mapping[str, str]:
    """The bill of materials of each named image, or of all that are built here, by name.

    Raises `ConfigurationError` for an unknown image.
    """
    from wecityctl.inventory.sbom import bill_of_materials

    known, recipes = _contents(), {item.name: item for item in oci.catalogue()}
    found = {}
    for name in dict.fromkeys(names or sorted(recipes)):
        packages = known.packages(name, architecture)
        recipe, reference = recipes[name], oci.reference(name, source="built")
        found[name] = bill_of_materials(name, recipe.title, recipe.version, reference, packages)
    return found


def _contents() -> Contents:
    return Contents(Catalogue(oci.catalogue()), MODULES)


def _by_reference(running: Iterable[Running]) -> Mapping[str, list[Running]]:
    found: dict[str, list[Running]] = {}
    for item in running:
        found.setdefault(item.reference, []).append(item)
    return dict(sorted(found.items()))


def _packages(known: Contents, name: str, architectures: Iterable[str]) -> tuple[Package, ...]:
    """The packages of an image that is built here, for all architectures that the city wants images for."""
    return tuple(sorted({item for each in architectures for item in known.packages(name, each)})) if name else ()


def _image(
    reference: str, running: Sequence[Running], packages: tuple[Package, ...], names: Mapping[str, str]
) -> InventoryImage:
    digests = tuple(sorted({item.digest for item in running if item.digest}))
    return InventoryImage(reference, digests, names.get(reference, ""), packages, tuple(running))


def _with_findings(image: InventoryImage, matched: Matched) -> InventoryImage:
    own = set(image.packages)
    findings = tuple(item for item in matched.findings if item.package in own)
    return replace(image, findings=findings)


def _notes(images: Sequence[InventoryImage]) -> Iterable[str]:
    foreign = sum(1 for item in images if not item.recipe)
    if foreign:
        yield f"{foreign} of {len(images)} images are not built here: what is in them is not known"
    if any(package.ecosystem == "Go" for image in images for package in image.packages):
        yield "Go's standard library is compiled into programs; its version is that of the Go that built them"
    archives = sorted({p.name for image in images for p in image.packages if p.ecosystem == "Maven"})
    if archives:
        yield f"{', '.join(archives)}: {_ARCHIVE}"
