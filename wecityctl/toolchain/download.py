"""Downloads binaries that vendors publish, verified against the SHA-256 digests in the lock file.

Whether the vendors' hosts are reachable is tested once per run.
"""

from __future__ import annotations

import hashlib
import http.client
import threading
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from wecityctl.toolchain import lockfile
from wecityctl.toolchain.archive import ArchiveError, extract
from wecityctl.toolchain.model import Artifact, Part, Phase, SourceName
from wecityctl.toolchain.settings import Settings
from wecityctl.toolchain.source_protocol import NotOfferedError, Progress, Provided, SourceFailedError, StoppedError

CHUNK = 1 << 18
AGENT = "wecityctl"
_NOT_THERE = (404, 410)
NETWORK_ERRORS = (OSError, http.client.HTTPException, ValueError)


class Probe:
    """Tests once per run whether the download host is reachable, and caches the answer."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._lock = threading.Lock()
        self._answer: str | None = None

    def problem(self, url: str) -> str:
        """Why the host of `url` cannot be reached; empty if it answers with any HTTP status."""
        with self._lock:
            if self._answer is None:
                self._answer = self._ask(url)
            return self._answer

    def _ask(self, url: str) -> str:
        parts = urlsplit(url)
        root = f"{parts.scheme}://{parts.netloc}/"
        outcome: list[str] = []
        # Name resolution has no timeout, so the thread is abandoned when the time is up.
        asking = threading.Thread(target=lambda: outcome.append(_head(root, self._seconds)), daemon=True)
        asking.start()
        asking.join(self._seconds)
        return outcome[0] if outcome else f"{parts.netloc} did not answer within {self._seconds:g} s"


def _head(url: str, seconds: float) -> str:
    request = urllib.request.Request(url, method="HEAD", headers={"User-Agent": AGENT})  # noqa: S310 - http(s) only
    try:
        urllib.request.urlopen(request, timeout=seconds).close()  # noqa: S310
    except urllib.error.HTTPError:
        return ""
    except NETWORK_ERRORS as error:
        return f"{urlsplit(url).netloc} cannot be reached: {getattr(error, 'reason', error)}"
    return ""


@dataclass(frozen=True, slots=True)
class DownloadSource:
    """Downloads a part's files, verifies each against the lock file, and extracts the programs."""

    settings: Settings
    probe: Probe
    cancelled: threading.Event
    name: SourceName = SourceName.DOWNLOAD

    @property
    def is_named(self) -> bool:
        """Whether the user specified a mirror; false for the vendors' own hosts."""
        return bool(self.settings.download_base)

    def provide(self, part: Part, staging: Path, progress: Progress) -> Provided:
        """Fill `staging/bin`. Only files that the lock file lists are downloaded, and nothing in offline mode."""
        artifacts = part.artifacts(self.settings.platform)
        if not artifacts:
            raise NotOfferedError(f"its vendor publishes no file for {self.settings.platform}")
        if self.settings.offline:
            raise NotOfferedError("offline")
        digests = lockfile.digests(self.settings.toolchain, part, self.settings.platform)
        for artifact in artifacts:
            if artifact.name not in digests:
                raise NotOfferedError(
                    f"no checksum of {artifact.name} is recorded in {lockfile.FILE}, so it is not downloaded"
                )
        unreachable = self.probe.problem(self._address(artifacts[0]))
        if unreachable and self.is_named:
            raise SourceFailedError(f"{unreachable} (WECITYCTL_DOWNLOAD_BASE)")
        if unreachable:
            raise NotOfferedError(unreachable)
        for artifact in artifacts:
            self._fetch(artifact, digests, staging, progress)
        return Provided(part.version.removeprefix("v"), ", ".join(self._address(each) for each in artifacts))

    def _address(self, artifact: Artifact) -> str:
        base = self.settings.download_base
        return f"{base}/{artifact.url.removeprefix('https://')}" if base else artifact.url

    def _fetch(self, artifact: Artifact, digests: Mapping[str, str], staging: Path, progress: Progress) -> None:
        url = self._address(artifact)
        file = staging / "download"
        actual = self._transfer(url, file, progress)
        if actual != digests[artifact.name]:
            raise SourceFailedError(
                f"{url} has the SHA-256 {actual}, recorded is {digests[artifact.name]}: thrown away"
            )
        progress(Phase.VERIFYING, artifact.name)
        raw = [name for name, member in artifact.members.items() if not member]
        if raw:
            file.rename(staging / "bin" / raw[0])
            return
        try:
            extract(file, {member: staging / "bin" / name for name, member in artifact.members.items()})
        except ArchiveError as error:
            raise SourceFailedError(str(error)) from error
        file.unlink()

    def _transfer(self, url: str, file: Path, progress: Progress) -> str:
        """Download `url` to `file`; returns its SHA-256."""
        request = urllib.request.Request(url, headers={"User-Agent": AGENT})  # noqa: S310 - http(s) only
        hasher, done = hashlib.sha256(), 0
        try:
            with (
                urllib.request.urlopen(request, timeout=self.settings.read_timeout) as response,  # noqa: S310
                file.open("wb") as out,
            ):
                total = int(response.headers.get("Content-Length") or 0)
                while chunk := response.read(CHUNK):
                    if self.cancelled.is_set():
                        raise StoppedError
                    out.write(chunk)
                    hasher.update(chunk)
                    done += len(chunk)
                    progress(Phase.DOWNLOADING, f"{file_name(url)} {_megabytes(done)}" + _of(total))
        except urllib.error.HTTPError as error:
            kind = NotOfferedError if error.code in _NOT_THERE else SourceFailedError
            raise kind(f"{url}: {error}") from error
        except TimeoutError as error:
            raise SourceFailedError(f"{url}: nothing came for {self.settings.read_timeout:g} s") from error
        except NETWORK_ERRORS as error:
            raise SourceFailedError(f"{url}: {error}") from error
        if total and done != total:
            raise SourceFailedError(f"{url}: the transfer broke off after {done} of {total} bytes")
        return hasher.hexdigest()


def file_name(url: str) -> str:
    """The last path segment of a URL."""
    return url.rsplit("/", 1)[-1]


def _megabytes(count: int) -> str:
    return f"{count / 1e6:.1f} MB"


def _of(total: int) -> str:
    return f" of {_megabytes(total)}" if total else ""
