"""Writes and reads an image as an OCI image layout in one tar, which containerd and other tools can import.

Follows the OCI image specification 1.1. Layers are uncompressed: compressed ones would depend on the version of the
compressor, and the archives are read on the machine that built them.
"""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wecityctl.errors import WecityError
from wecityctl.oci.recipe import Recipe
from wecityctl.oci.tree import EPOCH, Entry, read_tar

CREATED = "2026-01-01T00:00:00Z"
_INDEX = "application/vnd.oci.image.index.v1+json"
_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
_CONFIG = "application/vnd.oci.image.config.v1+json"
_LAYER = "application/vnd.oci.image.layer.v1.tar"
_CHUNK = 1 << 20


class ArchiveError(WecityError):
    """An image archive is damaged."""


@dataclass(frozen=True, slots=True)
class Layer:
    """The tar of one layer: `digest` is "sha256:…", `size` in bytes."""

    digest: str
    size: int
    path: Path

    @classmethod
    def of(cls, path: Path) -> Layer:
        """The layer in the tar at `path`."""
        with path.open("rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
        return cls(f"sha256:{digest}", path.stat().st_size, path)


def configuration(recipe: Recipe, architecture: str, layers: Sequence[Layer], inputs: str) -> dict[str, Any]:
    """The image configuration. Users are numeric, so that Kubernetes can enforce `runAsNonRoot`."""
    config: dict[str, Any] = {
        "Env": [f"{key}={value}" for key, value in sorted(recipe.environment.items())],
        "WorkingDir": recipe.workdir,
        "StopSignal": recipe.stop_signal,
        "Labels": {
            "org.opencontainers.image.title": recipe.title,
            "org.opencontainers.image.version": recipe.version,
            "org.opencontainers.image.licenses": recipe.licence,
            "org.opencontainers.image.vendor": "wecityctl",
            "dev.wecity.image": recipe.name,
            "dev.wecity.inputs": f"sha256:{inputs}",
        },
    }
    if recipe.user:
        config["User"] = f"{recipe.user.uid}:{recipe.user.gid}"
    if recipe.entrypoint:
        config["Entrypoint"] = list(recipe.entrypoint)
    if recipe.command:
        config["Cmd"] = list(recipe.command)
    if recipe.ports:
        config["ExposedPorts"] = {f"{port}/tcp": {} for port in recipe.ports}
    return {
        "architecture": architecture,
        "os": "linux",
        "created": CREATED,
        "config": config,
        "rootfs": {"type": "layers", "diff_ids": [layer.digest for layer in layers]},
        "history": [{"created": CREATED, "created_by": f"wecityctl images build {recipe.name}"} for _ in layers],
    }


def write_archive(target: Path, reference: str, config: dict[str, Any], layers: Sequence[Layer]) -> str:
    """Write the image to `target`; returns the digest of its manifest, which identifies the image."""
    config_blob = _json(config)
    manifest_blob = _json(
        {
            "schemaVersion": 2,
            "mediaType": _MANIFEST,
            "config": _descriptor(_CONFIG, config_blob),
            "layers": [{"mediaType": _LAYER, "digest": layer.digest, "size": layer.size} for layer in layers],
        }
    )
    manifest = _descriptor(_MANIFEST, manifest_blob)
    manifest["platform"] = {"architecture": config["architecture"], "os": "linux"}
    # containerd takes the image's name from its own annotation, other tools from that of the specification.
    manifest["annotations"] = {
        "io.containerd.image.name": reference,
        "org.opencontainers.image.ref.name": reference.rpartition(":")[2],
    }
    index = {"schemaVersion": 2, "mediaType": _INDEX, "manifests": [manifest]}
    blobs: dict[str, bytes | Path] = {layer.digest: layer.path for layer in layers}
    blobs |= {
        str(item["digest"]): blob
        for item, blob in ((manifest, manifest_blob), (_descriptor(_CONFIG, config_blob), config_blob))
    }
    with tarfile.open(target, "w", format=tarfile.PAX_FORMAT) as tar:
        _add(tar, "oci-layout", _json({"imageLayoutVersion": "1.0.0"}))
        _add(tar, "index.json", _json(index))
        for digest, blob in sorted(blobs.items()):
            _add(tar, f"blobs/{digest.replace(':', '/')}", blob)
    return str(manifest["digest"])


def read_layers(archive: Path, scratch: Path) -> tuple[list[Layer], dict[str, Entry]]:
    """Extract the layers of an image to `scratch`; returns them and the files that they form together."""
    entries: dict[str, Entry] = {}
    layers: list[Layer] = []
    with tarfile.open(archive) as tar:
        index = json.loads(_blob(tar, "index.json"))
        manifest = json.loads(_blob(tar, _blob_name(index["manifests"][0]["digest"])))
        for number, descriptor in enumerate(manifest["layers"]):
            place = scratch / f"below-{number}.tar"
            place.write_bytes(_blob(tar, _blob_name(descriptor["digest"])))
            layer = Layer.of(place)
            if layer.digest != descriptor["digest"]:
                raise ArchiveError(f"{archive} is damaged: {descriptor['digest']} is not what is in it")
            layers.append(layer)
            with place.open("rb") as stream:
                entries |= read_tar(stream)
    return layers, entries


def _blob_name(digest: str) -> str:
    return f"blobs/{digest.replace(':', '/')}"


def _blob(tar: tarfile.TarFile, name: str) -> bytes:
    try:
        source = tar.extractfile(name)
    except KeyError:
        source = None
    if source is None:
        raise ArchiveError(f"{tar.name!r} has no {name}", resolution="build the image again")
    return source.read()


def _json(document: dict[str, Any]) -> bytes:
    return json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def _descriptor(media_type: str, blob: bytes) -> dict[str, Any]:
    return {"mediaType": media_type, "digest": f"sha256:{hashlib.sha256(blob).hexdigest()}", "size": len(blob)}


def _add(tar: tarfile.TarFile, name: str, blob: bytes | Path) -> None:
    info = tarfile.TarInfo(name)
    info.mtime, info.mode = EPOCH, 0o644
    if isinstance(blob, Path):
        info.size = blob.stat().st_size
        with blob.open("rb") as stream:
            tar.addfile(info, stream)
    else:
        info.size = len(blob)
        tar.addfile(info, io.BytesIO(blob))
