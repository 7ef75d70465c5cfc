"""Reads and writes air-gap bundles: a directory or .tar.gz in the layout of the cache, with a manifest of digests.

Reading is one of the sources of parts; writing copies installed parts from the cache.
"""

from __future__ import annotations

import io
import json
import shutil
import tarfile
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from wecityctl.errors import ConfigurationError
from wecityctl.toolchain import archive
from wecityctl.toolchain.archive import ArchiveError
from wecityctl.toolchain.model import (
    INSTALL_HINT,
    Part,
    PartInstallError,
    PartMissingError,
    Phase,
    Platform,
    SourceName,
)
from wecityctl.toolchain.receipt import BinaryRecord
from wecityctl.toolchain.settings import Settings
from wecityctl.toolchain.source_protocol import NotOfferedError, Progress, Provided, SourceFailedError
from wecityctl.toolchain.store import Store

MANIFEST = "manifest.json"
SCHEMA = 1


@dataclass(frozen=True, slots=True)
class Manifest:
    """The content of a bundle: the actual version of each part; digest and size by `<part>/<pin>/bin/<binary>`."""

    platform: str
    versions: Mapping[str, str]
    files: Mapping[str, BinaryRecord]

    @classmethod
    def parse(cls, data: bytes, origin: Path) -> Manifest:
        """Parse a manifest. Raises `SourceFailedError` if it is invalid."""
        try:
            document: dict[str, Any] = json.loads(data)
            if document["schema"] != SCHEMA:
                raise SourceFailedError(f"{origin}: the manifest's schema is {document['schema']}, not {SCHEMA}")
            files = {
                str(name): BinaryRecord(str(record["sha256"]), int(record["size"]))
                for name, record in document["files"].items()
            }
            versions = {str(name): str(version) for name, version in document["versions"].items()}
            return cls(str(document["platform"]), versions, files)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise SourceFailedError(f"{origin}: the manifest cannot be understood: {error}") from error

    def render(self) -> bytes:
        """The manifest as it is written to the file."""
        files = {name: asdict(record) for name, record in sorted(self.files.items())}
        document = {"schema": SCHEMA, "platform": self.platform, "versions": dict(self.versions), "files": files}
        return (json.dumps(document, indent=2) + "\n").encode()


@dataclass(frozen=True, slots=True)
class BundleSource:
    """Takes parts from the bundle that the user specified, after verifying digests against its manifest."""

    settings: Settings
    name: SourceName = SourceName.BUNDLE

    @property
    def is_named(self) -> bool:
        """True: a bundle is used only if the user specified it."""
        return True

    def provide(self, part: Part, staging: Path, progress: Progress) -> Provided:
        """Copy the part's programs to `staging/bin`."""
        bundle = self.settings.bundle
        if bundle is None:
            raise NotOfferedError("no bundle is given")
        manifest = usable_manifest(bundle, self.settings)
        wanted = {_place(part, each.name): each.name for each in part.binaries_for(self.settings.platform)}
        missing = sorted(wanted.keys() - manifest.files.keys())
        if missing:
            raise NotOfferedError(f"{bundle} does not hold {', '.join(missing)}")
        progress(Phase.TRYING, str(bundle))
        targets = {member: staging / "bin" / name for member, name in wanted.items()}
        try:
            _copy_out(bundle, targets)
        except (ArchiveError, OSError) as error:
            raise SourceFailedError(str(error)) from error
        progress(Phase.VERIFYING, str(bundle))
        for member, target in targets.items():
            if BinaryRecord.of(target) != manifest.files[member]:
                raise SourceFailedError(f"{bundle}: {member} is not what the manifest says")
        return Provided(manifest.versions.get(part.name, part.version).removeprefix("v"), str(bundle))


def usable_manifest(bundle: Path, settings: Settings) -> Manifest:
    """The manifest of a bundle for this platform. Raises `SourceFailedError`."""
    if not bundle.exists():
        raise SourceFailedError(f"the bundle {bundle} does not exist")
    manifest = read_manifest(bundle)
    if manifest.platform != str(settings.platform):
        raise SourceFailedError(f"{bundle} is for {manifest.platform}, this is {settings.platform}")
    return manifest


def holds(part: Part, settings: Settings) -> bool:
    """Whether the specified bundle has the part. Raises `PartInstallError` if the bundle cannot be used."""
    if settings.bundle is None:
        return False
    try:
        files = usable_manifest(settings.bundle, settings).files
    except SourceFailedError as error:
        raise unusable(settings.bundle, error) from error
    return all(_place(part, binary.name) in files for binary in part.binaries_for(settings.platform))


def check(settings: Settings) -> None:
    """Raise `PartInstallError` if a bundle is specified and cannot be used."""
    if settings.bundle is not None:
        try:
            usable_manifest(settings.bundle, settings)
        except SourceFailedError as error:
            raise unusable(settings.bundle, error) from error


def unusable(bundle: Path, error: SourceFailedError) -> PartInstallError:
    """The error for a specified bundle that cannot be used."""
    return PartInstallError(
        f"the bundle {bundle} cannot be used",
        details=str(error),
        resolution="copy it again from where it was made, or leave out --bundle and WECITYCTL_BUNDLE",
    )


def read_manifest(bundle: Path) -> Manifest:
    """The manifest of a bundle. Raises `SourceFailedError`."""
    try:
        if bundle.is_dir():
            return Manifest.parse((bundle / MANIFEST).read_bytes(), bundle)
        data = archive.read(bundle, MANIFEST)
    except (OSError, ArchiveError) as error:
        raise SourceFailedError(f"{bundle}: {error}") from error
    if data is None:
        raise SourceFailedError(f"{bundle} holds no {MANIFEST}")
    return Manifest.parse(data, bundle)


def _place(part: Part, binary: str) -> str:
    return f"{part.name}/{part.pin}/bin/{binary}"


def _copy_out(bundle: Path, targets: Mapping[str, Path]) -> None:
    if not bundle.is_dir():
        archive.extract(bundle, targets, whole=False)
        return
    for member, target in targets.items():
        shutil.copyfile(bundle / member, target)


@dataclass(frozen=True, slots=True)
class Content:
    """A part to be bundled: its actual version and the paths of its programs."""

    part: Part
    version: str
    programs: Mapping[str, Path]

    @classmethod
    def installed(cls, part: Part, store: Store) -> Content:
        """The content of an installed part in the cache. Raises `PartMissingError`."""
        found = store.receipt(part)
        if found is None:
            raise PartMissingError(f"{part.name} {part.version} is not installed", resolution=INSTALL_HINT)
        names = [binary.name for binary in part.binaries_for(store.platform)]
        return cls(part, found.version, {name: store.binary(part, name).resolve() for name in names})


def write(destination: Path, contents: Iterable[Content], target: Platform) -> Manifest:
    """Write a bundle of `contents`: a directory, or an archive if the name ends in .tar.gz or .tgz."""
    if destination.exists() and not (destination.is_dir() and not any(destination.iterdir())):
        raise ConfigurationError(f"{destination} exists already", resolution="Name a place that does not exist yet.")
    files, versions = {}, {}
    for content in contents:
        versions[content.part.name] = content.version
        for name, path in content.programs.items():
            files[_place(content.part, name)] = path
    manifest = Manifest(str(target), versions, {name: BinaryRecord.of(path) for name, path in files.items()})
    destination.parent.mkdir(parents=True, exist_ok=True)
    if destination.name.endswith((".tar.gz", ".tgz")):
        _write_archive(destination, manifest, files)
    else:
        _write_directory(destination, manifest, files)
    return manifest


def _write_archive(destination: Path, manifest: Manifest, files: Mapping[str, Path]) -> None:
    with tempfile.NamedTemporaryFile(dir=destination.parent, prefix=f".{destination.name}.", delete=False) as stream:
        temporary = Path(stream.name)
    try:
        with tarfile.open(temporary, "w:gz", compresslevel=3) as tar:
            data = manifest.render()
            header = tarfile.TarInfo(MANIFEST)
            header.size = len(data)
            tar.addfile(header, io.BytesIO(data))
            for name, path in sorted(files.items()):
                tar.add(path, name)
        temporary.chmod(0o644)
        temporary.rename(destination)
    finally:
        temporary.unlink(missing_ok=True)


def _write_directory(destination: Path, manifest: Manifest, files: Mapping[str, Path]) -> None:
    for name, path in files.items():
        target = destination / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)
        target.chmod(0o755)
    # Written last, so that an incomplete bundle has no manifest and is not usable.
    (destination / MANIFEST).write_bytes(manifest.render())
