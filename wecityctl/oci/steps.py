"""Executes a recipe's `run`: a program of the image that generates files when the lock is written.

Its output is kept as an archive beside the lock, so that all builds get the same bytes and run nothing. The program is
isolated: it sees the image's files only, and has no network, no other processes and no privileges.
"""

from __future__ import annotations

import hashlib
import io
import json
import lzma
import os
import shutil
import subprocess
import tarfile
import tempfile
import zipfile
from collections.abc import Mapping
from pathlib import Path

from wecityctl import cancellation
from wecityctl.oci.lock import Lock
from wecityctl.oci.recipe import Recipe, Run
from wecityctl.oci.tree import EPOCH, ImageBuildError, Tree, regular

RUN_SECONDS = 900
MAX_BYTES = 64 << 20
MAX_UNPACKED_BYTES = 512 << 20
_ZIP_TIME = (2026, 1, 1, 0, 0, 0)
# Enters new namespaces with their own /proc and the four devices that programs usually need.
_ENTER = """
set -eu
root=$1; shift
mkdir -p "$root/proc" "$root/dev" "$root/tmp"
mount --bind "$root" "$root"
mount -t tmpfs tmpfs "$root/tmp"
mount -t tmpfs tmpfs "$root/dev"
for device in null zero random urandom; do
  : > "$root/dev/$device"
  mount --bind "/dev/$device" "$root/dev/$device"
done
mount -t proc proc "$root/proc"
exec chroot "$root" "$@"
"""


def inputs(recipe: Recipe, lock: Lock) -> str:
    """The SHA-256 over the inputs of the run: the command and the locked packages, except for Debian's.

    Debian packages are excluded so that a security update of the interpreter does not require a new run.
    """
    assert recipe.run is not None
    fields = recipe.model_dump(mode="json", include={"run", "maven", "npm", "python"}, exclude_defaults=True)
    packages = Lock(python=lock.python, maven=lock.maven, npm=lock.npm).canonical()
    return hashlib.sha256(f"{json.dumps(fields, sort_keys=True)}\0{packages}".encode()).hexdigest()


def generate(recipe: Recipe, tree: Tree, scratch: Path) -> bytes:
    """Run the recipe's program on the files of `tree`; returns the archive of its outputs."""
    assert recipe.run is not None
    with tempfile.TemporaryDirectory(dir=scratch, prefix="run-") as name:
        root = Path(name)
        tree.write_directory(root)
        _run(recipe.run, root, recipe.environment)
        return pack(root, recipe.run)


def pack(root: Path, run: Run) -> bytes:
    """The outputs below `root` as a reproducible compressed tar: sorted, without owners and timestamps, also in
    jars.
    """
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for output in sorted(run.outputs):
            place = root / output.lstrip("/")
            paths = [place] if place.is_file() else sorted(path for path in place.rglob("*") if not path.is_dir())
            if not paths:
                raise ImageBuildError(f"run made no {output}")
            for path in paths:
                if path.is_symlink() or not path.is_file():
                    raise ImageBuildError(f"run made /{path.relative_to(root)}, which is no file")
                content = path.read_bytes()
                if zipfile.is_zipfile(io.BytesIO(content)):
                    content = _timeless(content)
                info = tarfile.TarInfo(path.relative_to(root).as_posix())
                info.size, info.mtime = len(content), EPOCH
                info.mode = 0o755 if path.stat().st_mode & 0o111 else 0o644
                tar.addfile(info, io.BytesIO(content))
    packed = lzma.compress(stream.getvalue(), preset=9)
    if len(packed) > MAX_BYTES:
        raise ImageBuildError(f"run made more than {MAX_BYTES >> 20} MiB", resolution="name fewer outputs")
    return packed


def add(tree: Tree, recipe: Recipe, lock: Lock, archive: Path) -> None:
    """Replace the outputs in `tree` by those in the archive.

    Raises `ImageBuildError` if its digest is not the locked one.
    """
    assert recipe.run is not None
    again = "write the lock anew with --update-lock"
    if lock.generated is None or not archive.is_file():
        raise ImageBuildError(f"what run makes is not there: {archive.name}", resolution=again)
    if lock.generated.inputs != inputs(recipe, lock):
        raise ImageBuildError("the recipe or its packages have changed since its run", resolution=again)
    content = archive.read_bytes()
    if hashlib.sha256(content).hexdigest() != lock.generated.sha256:
        raise ImageBuildError(f"{archive.name} is not the file that was locked", resolution=again)
    for output in run_paths(tree, recipe.run):
        tree.remove(output)
    unpacked = lzma.LZMADecompressor(memlimit=1 << 30).decompress(content, MAX_UNPACKED_BYTES)
    with tarfile.open(fileobj=io.BytesIO(unpacked)) as tar:
        for member in tar:
            source = tar.extractfile(member)
            if source is None or not any(_within(f"/{member.name}", output) for output in recipe.run.outputs):
                raise ImageBuildError(f"{archive.name} has {member.name}, which is no output of run")
            tree.add(member.name, regular(source.read(), member.mode & 0o755))


def run_paths(tree: Tree, run: Run) -> list[str]:
    """The files of the image's own layer that are outputs of its run."""
    return [
        path
        for path, entry in tree.own.items()
        if entry.is_file and any(_within(f"/{path}", output) for output in run.outputs)
    ]


def _within(path: str, output: str) -> bool:
    return path == output or path.startswith(f"{output}/")


def _run(run: Run, root: Path, environment: Mapping[str, str]) -> None:
    unshare = shutil.which("unshare")
    if unshare is None:
        raise ImageBuildError("unshare is not installed", resolution="install util-linux")
    isolation = ["--user", "--map-root-user", "--mount", "--net", "--ipc", "--uts", "--pid", "--fork", "--kill-child"]
    done = cancellation.run(
        [unshare, *isolation, "sh", "-c", _ENTER, "sh", str(root), *run.command],
        env={"PATH": os.defpath, "HOME": "/tmp", **environment, **run.environment},  # noqa: S108 - the image's own
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        check=False,
        timeout=RUN_SECONDS,
        stdin=subprocess.DEVNULL,
    )
    if done.returncode != 0:
        raise ImageBuildError(
            f"run failed with {done.returncode}: {' '.join(run.command)}",
            details="\n".join(done.stdout.strip().splitlines()[-15:]),
        )


def _timeless(content: bytes) -> bytes:
    """A zip with the same members, sorted and without timestamps."""
    stream = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as source, zipfile.ZipFile(stream, "w") as target:
        for name in sorted(set(source.namelist()), key=lambda name: (name != "META-INF/MANIFEST.MF", name)):
            info = zipfile.ZipInfo(name, _ZIP_TIME)
            info.external_attr = (0o40755 if name.endswith("/") else 0o100644) << 16
            target.writestr(info, source.read(name))
    return stream.getvalue()
