"""Downloads files of HTTP registries into a cache that all images share, keyed by SHA-256.

The caller chooses the registry, always from the settings of that registry's own client.
"""

from __future__ import annotations

import hashlib
import http.client
import os
import tempfile
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from wecityctl import cancellation
from wecityctl.oci.tree import ImageBuildError, UnavailableError

MAX_BYTES = 2 << 30
SECONDS = 60
ATTEMPTS = 3
SCHEMES = ("https", "http", "file")
_CHUNK = 1 << 20
_GONE = (401, 403, 404, 410, 451)


@dataclass(frozen=True, slots=True)
class Downloads:
    """Downloads into `root`, one file per SHA-256. With `offline`, only cached files are available."""

    root: Path
    offline: bool = False

    def get(self, url: str, sha256: str) -> Path:
        """The file with this digest, downloaded from `url` if it is not cached.

        Raises `UnavailableError` if the registry lacks it, and `ImageBuildError` if the digest differs.
        """
        place = self.place(sha256)
        if not place.is_file():
            found = self.learn(url)
            if found != sha256:
                raise ImageBuildError(
                    f"{_file(url)} has the SHA-256 {found}, locked is {sha256}",
                    resolution="the registry serves another file than the one that was locked: find out why",
                )
        return place

    def learn(self, url: str) -> str:
        """Download `url` into the cache without a known digest; returns its SHA-256."""
        if self.offline:
            raise UnavailableError(f"offline, and {_file(url)} is not in the cache")
        if urlsplit(url).scheme not in SCHEMES:
            raise ImageBuildError(f"{url} is no address of a registry: one of {', '.join(SCHEMES)} is needed")
        self.root.mkdir(parents=True, exist_ok=True)
        for attempt in range(1, ATTEMPTS + 1):
            try:
                return self._transfer(url)
            except urllib.error.HTTPError as error:
                if error.code in _GONE or attempt == ATTEMPTS:
                    raise UnavailableError(f"cannot be downloaded: {_file(url)}", details=str(error)) from error
            except (OSError, http.client.HTTPException) as error:
                if attempt == ATTEMPTS or urlsplit(url).scheme == "file":
                    reason = str(getattr(error, "reason", error))
                    raise UnavailableError(f"cannot be downloaded: {_file(url)}", details=reason) from error
            cancellation.check()
            time.sleep(attempt)
        raise AssertionError("unreachable")

    def place(self, sha256: str) -> Path:
        """The path of the file with this digest, whether it exists or not."""
        return self.root / sha256

    def has(self, sha256: str) -> bool:
        """Whether the file with this digest is cached."""
        return self.place(sha256).is_file()

    def _transfer(self, url: str) -> str:
        request = urllib.request.Request(url, headers={"User-Agent": "wecityctl"})  # noqa: S310 - schemes are checked
        digest, size = hashlib.sha256(), 0
        descriptor, name = tempfile.mkstemp(dir=self.root, prefix=".fetch-")
        try:
            with (
                os.fdopen(descriptor, "wb") as target,
                urllib.request.urlopen(request, timeout=SECONDS) as source,  # noqa: S310
            ):
                while chunk := source.read(_CHUNK):
                    cancellation.check()
                    size += len(chunk)
                    if size > MAX_BYTES:
                        raise ImageBuildError(f"{_file(url)} is larger than {MAX_BYTES >> 20} MiB")
                    digest.update(chunk)
                    target.write(chunk)
                expected = source.headers.get("Content-Length")
            if expected is not None and expected.isdigit() and int(expected) != size:
                raise ConnectionError(f"{size} of {expected} bytes came")
            Path(name).replace(self.place(digest.hexdigest()))
            return digest.hexdigest()
        finally:
            Path(name).unlink(missing_ok=True)


def _file(url: str) -> str:
    """The path in a URL for messages, without the host and without credentials."""
    return urlsplit(url).path.lstrip("/")
