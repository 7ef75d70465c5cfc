"""An image's files as a directory, and programs of it run inside: what a container would do, without one.

Needs root. Every program gets a mount namespace of its own, so that no mount outlives it.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import pytest

from wecityctl.oci import BuiltImage
from wecityctl.oci.layout import read_layers

T = TypeVar("T")

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="running an image's programs takes root (chroot, mounts)")

ENTER = """
set -eu
root=$1; user=$2; shift 2
# Read-only but for /tmp and what the test declares, as the manifests have it.
mount --bind "$root" "$root"
mount --rbind /dev "$root/dev"
mount -t proc proc "$root/proc"
for place in tmp $WRITABLE; do mount -t tmpfs -o mode=1777 tmpfs "$root/$place"; done
for place in $SHARED; do mkdir -p "$root/tmp$place"; mount --bind "$place" "$root/tmp$place"; done
mount -o remount,bind,ro "$root"
exec chroot --userspec="$user" "$root" "$@"
"""


@dataclass(frozen=True, slots=True)
class RootFilesystem:
    """An unpacked image; `environment` and `user` as its configuration has them."""

    root: Path
    user: str
    environment: Mapping[str, str]

    def command(self, arguments: Sequence[str]) -> list[str]:
        return [
            "unshare",
            "--mount",
            "--propagation",
            "private",
            "sh",
            "-c",
            ENTER,
            "sh",
            str(self.root),
            self.user,
            *arguments,
        ]

    def _env(self, writable: Sequence[str], shared: Sequence[Path], extra: Mapping[str, str]) -> dict[str, str]:
        return {**self.environment, "WRITABLE": " ".join(writable), "SHARED": " ".join(map(str, shared)), **extra}

    def run(
        self,
        *arguments: str,
        writable: Sequence[str] = (),
        shared: Sequence[Path] = (),
        timeout: float = 150,
        **env: str,
    ) -> subprocess.CompletedProcess[str]:
        """Run a program to its end; a shared directory is seen under /tmp."""
        return subprocess.run(
            self.command(arguments),
            env=self._env(writable, shared, env),
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )

    @contextmanager
    def running(
        self, *arguments: str, writable: Sequence[str] = (), shared: Sequence[Path] = (), **env: str
    ) -> Iterator[subprocess.Popen[str]]:
        """Run a server; it is ended, if it has not, when the block is left."""
        with tempfile.TemporaryFile("w+") as log:
            process = subprocess.Popen(
                self.command(arguments), env=self._env(writable, shared, env), stdout=log, stderr=log, text=True
            )
            try:
                yield process
            except BaseException:
                log.seek(0)
                print(log.read())
                raise
            finally:
                if process.poll() is None:
                    process.send_signal(signal.SIGTERM)
                    try:
                        process.wait(15)
                    except subprocess.TimeoutExpired:
                        process.kill()
                        process.wait()


def unpack(image: BuiltImage, root: Path) -> RootFilesystem:
    """Unpack `image` under `root`, with its owners."""
    import json
    import tarfile

    with tempfile.TemporaryDirectory() as scratch:
        layers, _ = read_layers(image.archive, Path(scratch))
        for layer in layers:
            with tarfile.open(layer.path) as tar:
                tar.extractall(root, numeric_owner=True, filter="fully_trusted")
    root.chmod(0o755)
    with tarfile.open(image.archive) as tar:
        index = json.load(tar.extractfile("index.json"))  # type: ignore[arg-type]
        manifest = json.load(tar.extractfile(_blob(index["manifests"][0]["digest"])))  # type: ignore[arg-type]
        config = json.load(tar.extractfile(_blob(manifest["config"]["digest"])))["config"]  # type: ignore[arg-type]
    return RootFilesystem(root, config.get("User", "0:0"), dict(item.split("=", 1) for item in config["Env"]))


def _blob(digest: str) -> str:
    return f"blobs/{digest.replace(':', '/')}"


def free_port() -> int:
    """A TCP port of the loopback interface that nobody has now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def small_volume(place: Path, mebibytes: int) -> Iterator[Path]:
    """A volume of this size at a new directory, for the images' user. It outlives programs that share it."""
    place.mkdir()
    options = f"size={mebibytes}m,mode=0700,uid=65532,gid=65532"
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(place)], check=True)
    try:
        yield place
    finally:
        subprocess.run(["umount", "--lazy", str(place)], check=True)


def fill(volume: Path, *, free: int = 0) -> Path:
    """Fill a volume but for `free` bytes, by a file that is returned."""
    filler = volume / "filler"
    with filler.open("wb") as file:
        room = os.statvfs(volume)
        os.posix_fallocate(file.fileno(), 0, max(room.f_bavail * room.f_frsize - free, 1))
    return filler


def wait_for(what: str, probe: Callable[[], T | None], process: subprocess.Popen[str], seconds: float = 30) -> T:
    """What `probe` returns once it returns something; its errors count as nothing."""
    deadline = time.monotonic() + seconds
    last: Exception | None = None
    while time.monotonic() < deadline and process.poll() is None:
        try:
            if (found := probe()) is not None:
                return found
        except Exception as error:
            last = error
        time.sleep(0.05)
    raise AssertionError(f"{what} did not happen (exit code {process.poll()}): {last}")
