"""Pushes built images to a registry over one connection, as the distribution specification 1.1 has it.

What the registry has already is not sent: it is asked for each blob, and for the digest of each tag. An upload that was
cut goes on at the byte that the registry has. Who connects, and again after a cut, is left to the caller.
"""

from __future__ import annotations

import http.client
import json
import tarfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import IO, Any, Literal

from wecityctl.errors import DeploymentError
from wecityctl.oci.layout import ArchiveError
from wecityctl.oci.store import BuiltImage

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
# Bytes that are sent in one request: what is sent again, at the most, when the connection is cut.
PART = 8 * 2**20


class RegistryError(DeploymentError):
    """The registry has refused a request."""


@dataclass(frozen=True, slots=True)
class PushProgress:
    """Of one image: `sent` bytes of `size`, which is what the registry does not have."""

    image: str
    sent: int
    size: int


@dataclass(frozen=True, slots=True)
class PushedImage:
    """An image and what became of it. `sent` is in bytes; `missing` is what `push` would send of it."""

    name: str
    reference: str
    digest: str
    state: Literal["pushed", "present", "missing"]
    sent: int = 0


@dataclass(slots=True)
class Uploads:
    """Uploads that were begun and have not ended: where each goes on, by repository and digest of the blob."""

    begun: dict[tuple[str, str], str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Blob:
    digest: str
    size: int


@dataclass(frozen=True, slots=True)
class _Answer:
    status: int
    headers: Mapping[str, str]
    text: bytes


class Registry:
    """A registry at the other end of `connection`; `authorization` is the header of who pushes."""

    def __init__(self, connection: http.client.HTTPConnection, authorization: str, uploads: Uploads) -> None:
        self._connection, self._authorization, self._uploads = connection, authorization, uploads

    def push(
        self, image: BuiltImage, repository: str, tag: str, report: Callable[[PushProgress], None], *, dry_run: bool
    ) -> PushedImage:
        """Push an image unless the registry has it under this tag.

        Raises `RegistryError` for a refusal, `ArchiveError` for a damaged archive, and `OSError` or
        `http.client.HTTPException` if the connection is cut: then another connection may go on.
        """
        reference = f"{repository}:{tag}"
        known = self._ask("HEAD", f"/v2/{repository}/manifests/{tag}", (200, 404), {"Accept": MANIFEST})
        if known.status == http.client.OK and known.headers.get("docker-content-digest") == image.digest:
            return PushedImage(image.name, reference, image.digest, "present")
        with tarfile.open(image.archive) as archive:
            manifest = _read(archive, image.digest)
            blobs = [blob for blob in _blobs(manifest) if not self._has(repository, blob)]
            size = sum(blob.size for blob in blobs)
            if dry_run:
                return PushedImage(image.name, reference, image.digest, "missing", size)
            sent = 0
            report(PushProgress(image.name, sent, size))
            for blob in blobs:
                for more in self._upload(repository, archive, blob):
                    sent += more
                    report(PushProgress(image.name, sent, size))
        self._ask("PUT", f"/v2/{repository}/manifests/{tag}", (201,), {"Content-Type": MANIFEST}, manifest)
        return PushedImage(image.name, reference, image.digest, "pushed", size)

    def _has(self, repository: str, blob: _Blob) -> bool:
        return self._ask("HEAD", f"/v2/{repository}/blobs/{blob.digest}", (200, 404)).status == http.client.OK

    def _upload(self, repository: str, archive: tarfile.TarFile, blob: _Blob) -> Iterator[int]:
        """Upload a blob; yield how many bytes the registry has got after each request."""
        key = (repository, blob.digest)
        place, offset = self._begin(key)
        with _open(archive, blob.digest) as stream:
            stream.seek(offset)
            yield offset
            while offset < blob.size:
                part = stream.read(min(PART, blob.size - offset))
                if not part:
                    raise ArchiveError(
                        f"{archive.name!r} is damaged: {blob.digest} is cut", resolution="build it again"
                    )
                headers = {
                    "Content-Type": "application/octet-stream",
                    "Content-Range": f"{offset}-{offset + len(part) - 1}",
                }
                place = self._ask("PATCH", place, (202,), headers, part).headers["location"]
                self._uploads.begun[key] = place
                offset += len(part)
                yield len(part)
        joint = "&" if "?" in place else "?"
        self._ask("PUT", f"{place}{joint}digest={blob.digest}", (201,))
        self._uploads.begun.pop(key, None)

    def _begin(self, key: tuple[str, str]) -> tuple[str, int]:
        """Where an upload goes on, and at which byte."""
        place = self._uploads.begun.get(key)
        if place is not None:
            found = self._ask("GET", place, (204, 404))
            if found.status == http.client.NO_CONTENT:
                # The last byte is named, so that "0-0" may stand for none: a part is never of one byte.
                last = int(found.headers.get("range", "0-0").rpartition("-")[2])
                return found.headers.get("location", place), last + 1 if last else 0
            del self._uploads.begun[key]
        made = self._ask("POST", f"/v2/{key[0]}/blobs/uploads/", (202,))
        self._uploads.begun[key] = made.headers["location"]
        return made.headers["location"], 0

    def _ask(
        self, method: str, path: str, codes: tuple[int, ...], headers: Mapping[str, str] = {}, body: bytes = b""
    ) -> _Answer:
        self._connection.request(method, path, body, {"Authorization": self._authorization, **headers})
        response = self._connection.getresponse()
        answer = _Answer(response.status, {key.lower(): value for key, value in response.getheaders()}, response.read())
        if answer.status not in codes:
            raise RegistryError(f"the registry answers {method} with {answer.status}", details=_told(answer.text))
        return answer


def _told(text: bytes) -> str:
    """What the registry says of an error."""
    try:
        return "\n".join(f"{item['code']}: {item['message']}" for item in json.loads(text)["errors"])
    except (ValueError, KeyError, TypeError):
        return text.decode(errors="replace")[:300]


def _blobs(manifest: bytes) -> Iterator[_Blob]:
    """Yield the blobs that a manifest names, each once."""
    found: Any = json.loads(manifest)
    described = {item["digest"]: int(item["size"]) for item in (*found["layers"], found["config"])}
    yield from (_Blob(digest, size) for digest, size in described.items())


def _open(archive: tarfile.TarFile, digest: str) -> IO[bytes]:
    try:
        stream = archive.extractfile(f"blobs/{digest.replace(':', '/')}")
    except KeyError:
        stream = None
    if stream is None:
        raise ArchiveError(f"{archive.name!r} has no {digest}", resolution="build the image again")
    return stream


def _read(archive: tarfile.TarFile, digest: str) -> bytes:
    with _open(archive, digest) as stream:
        return stream.read()
