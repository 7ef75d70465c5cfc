"""Resolves and downloads wheels with pip, using the machine's pip settings, and unpacks them.

Unpacking is done here, so that no installer leaves traces: a wheel is a zip with the content of the target directory
and, for programs and data, of a prefix (binary distribution format, packaging.python.org).
"""

from __future__ import annotations

import configparser
import email
import hashlib
import json
import re
import sys
import tempfile
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from email.message import Message
from pathlib import Path

from wecityctl import cancellation
from wecityctl.oci import archives
from wecityctl.oci.lock import Wheel
from wecityctl.oci.recipe import Python
from wecityctl.oci.tree import ImageBuildError, Tree, regular

PIP_SECONDS = 600
MACHINES = {"amd64": "x86_64", "arm64": "aarch64"}
# Minor versions of glibc: that of Debian 12, and the oldest that wheels are still built for.
GLIBC_NEWEST, GLIBC_OLDEST = 36, 17
_OLD_PLATFORMS = ("manylinux2014", "manylinux2010", "manylinux1")
# pip evaluates "python_full_version < ..." for the Python that runs it, regardless of --python-version. This makes it
# use the image's version. The patched function exists in pip's `packaging` since 2016; without it nothing is
# downloaded.
_PIP = """
import json, runpy, sys
from pip._vendor.packaging import markers
own, image = markers.default_environment, json.loads(sys.argv.pop(1))
markers.default_environment = lambda: {**own(), **image}
sys.argv[0] = "pip"
runpy.run_module("pip", run_name="__main__", alter_sys=True)
"""
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_ENTRY = re.compile(r"([\w.]+)\s*:\s*([\w.]+)\s*(\[.*\])?")


@dataclass(frozen=True, slots=True)
class Pip:
    """pip with `root` as its directory for wheels."""

    root: Path
    environment: Mapping[str, str]
    offline: bool = False

    def resolve(self, wanted: Python, version: str, architecture: str) -> tuple[Wheel, ...]:
        """The wheels that the requirements need on the image's Python, already downloaded.

        `version` is the full version of that Python ("3.11.2"), for which environment markers are evaluated.
        """
        with tempfile.TemporaryDirectory(dir=self._ready(), prefix="resolve-") as scratch:
            flags = _flags(wanted, version, architecture)
            self._download([*flags, *wanted.requirements], Path(scratch), _environment(version, architecture))
            return tuple(sorted(self._keep(path, architecture) for path in Path(scratch).glob("*.whl")))

    def fetch(self, wheels: Sequence[Wheel], wanted: Python, architecture: str) -> list[Path]:
        """The files of the locked wheels, from the cache or downloaded."""
        if any(not self._place(wheel).is_file() for wheel in wheels):
            with tempfile.TemporaryDirectory(dir=self._ready(), prefix="fetch-") as scratch:
                locked = Path(scratch) / "requirements.txt"
                locked.write_text("".join(f"{w.project}=={w.version} --hash=sha256:{w.sha256}\n" for w in wheels))
                flags = _flags(wanted, wanted.version, architecture)
                self._download([*flags, "--no-deps", "--require-hashes", "-r", str(locked)], Path(scratch), {})
                for path in Path(scratch).glob("*.whl"):
                    self._keep(path, architecture)
        if absent := [wheel.file for wheel in wheels if not self._place(wheel).is_file()]:
            raise ImageBuildError(f"pip brought other files than the locked ones: {', '.join(absent)} did not come")
        return [self._place(wheel) for wheel in wheels]

    def _place(self, wheel: Wheel) -> Path:
        return self.root / f"{wheel.sha256}.whl"

    def _ready(self) -> Path:
        self.root.mkdir(parents=True, exist_ok=True)
        return self.root

    def _keep(self, path: Path, architecture: str) -> Wheel:
        project, version = path.name.split("-")[:2]
        only = "" if path.stem.endswith("-any") else architecture
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        wheel = Wheel(project, version, path.name, digest, licence_of(path), only)
        path.replace(self._place(wheel))
        return wheel

    def _download(self, arguments: Sequence[str], target: Path, markers: Mapping[str, str]) -> None:
        if self.offline:
            raise ImageBuildError("offline, and not all Python distributions are in the cache")
        command = [sys.executable, "-c", _PIP, json.dumps(dict(markers)), "download", "--quiet", "--dest", str(target)]
        done = cancellation.run(
            [*command, *arguments],
            env=dict(self.environment),
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
            timeout=PIP_SECONDS,
        )
        if done.returncode != 0:
            raise ImageBuildError(
                "pip cannot download the image's Python distributions",
                details="\n".join(done.stderr.strip().splitlines()[-8:]),
                resolution="check pip's index settings on this machine",
            )


def unpack(tree: Tree, wheel: Path, wanted: Python) -> None:
    """Add a wheel's files to `tree`. Raises `ImageBuildError` for content that the recipe does not allow.

    Programs become executable. A shebang `#!python` is replaced by the image's Python.
    """
    try:
        with zipfile.ZipFile(wheel) as archive:
            archives.check_zip(archive, wheel)
            metadata = _metadata(archive, "WHEEL", wheel.name)
            if metadata.get("Root-Is-Purelib", "true").strip().lower() != "true" and not wanted.native:
                raise ImageBuildError(
                    f"{wheel.name} is no pure wheel", resolution="admit wheels of one architecture with native: true"
                )
            for item in sorted(archive.infolist(), key=lambda item: item.filename):
                if not item.is_dir():
                    _add(tree, archive, item, wanted, wheel.name)
            if wanted.prefix:
                _add_commands(tree, archive, wanted, wheel.name)
    except (zipfile.BadZipFile, EOFError, NotImplementedError, RuntimeError) as error:
        raise ImageBuildError(f"{wheel.name} cannot be unpacked", details=str(error)) from error


def licence_of(wheel: Path) -> str:
    """The licence in a wheel's metadata: an SPDX expression, a short text, or classifiers; may be empty."""
    with zipfile.ZipFile(wheel) as archive:
        metadata = _metadata(archive, "METADATA", wheel.name)
    prefix = "License :: "
    classifiers = [item.removeprefix(prefix) for item in metadata.get_all("Classifier", []) if item.startswith(prefix)]
    stated = (metadata.get("License-Expression") or "").strip() or (metadata.get("License") or "").strip()
    if stated and "\n" not in stated and len(stated) <= 100 and stated != "UNKNOWN":
        return stated
    return " AND ".join(sorted(item.rpartition(" :: ")[2] for item in classifiers))


def _add(tree: Tree, archive: zipfile.ZipFile, item: zipfile.ZipInfo, wanted: Python, wheel: str) -> None:
    parts = archives.checked(item.filename)
    content = archive.read(item)
    mode = 0o755 if (item.external_attr >> 16) & 0o111 else 0o644
    if not parts[0].endswith(".data") or len(parts) == 1:
        # The modes of pure wheels were never kept; keeping them now would change the images' bytes.
        tree.add(f"{wanted.target}/{'/'.join(parts)}", regular(content, mode if wanted.native else 0o644))
        return
    scheme, rest = parts[1], "/".join(parts[2:])
    if scheme in ("purelib", "platlib"):
        tree.add(f"{wanted.target}/{rest}", regular(content, mode))
    elif scheme in ("scripts", "data"):
        if wanted.prefix is None:
            raise ImageBuildError(
                f"{wheel} brings programs or data, such as {rest}", resolution="say under which prefix they go"
            )
        if scheme == "data":
            tree.add(f"{wanted.prefix}/{rest}", regular(content, mode))
        else:
            tree.add(f"{wanted.prefix}/bin/{rest}", regular(_with_interpreter(content, wanted), 0o755))
    elif scheme != "headers":
        raise ImageBuildError(f"{wheel} brings {item.filename}, which wheels have no place for")


def _with_interpreter(content: bytes, wanted: Python) -> bytes:
    for open_line in (b"#!pythonw", b"#!python"):
        if content.startswith(open_line):
            _, newline, rest = content.partition(b"\n")
            return f"#!/usr/bin/python{wanted.version}".encode() + newline + rest
    return content


def _add_commands(tree: Tree, archive: zipfile.ZipFile, wanted: Python, wheel: str) -> None:
    """Add programs for the console scripts that a wheel declares, as installers write them."""
    names = [name for name in archive.namelist() if re.fullmatch(r"[^/]+\.dist-info/entry_points\.txt", name)]
    if not names:
        return
    declared = configparser.ConfigParser(delimiters=("=",), interpolation=None, strict=False)
    declared.optionxform = str  # type: ignore[assignment,method-assign]
    try:
        declared.read_string(archive.read(names[0]).decode())
    except (configparser.Error, UnicodeDecodeError) as error:
        raise ImageBuildError(f"{wheel} has entry points that cannot be read", details=str(error)) from error
    for name, target in sorted(declared["console_scripts"].items() if "console_scripts" in declared else ()):
        entry = _ENTRY.fullmatch(target.strip())
        if not _NAME.fullmatch(name) or entry is None:
            raise ImageBuildError(f"{wheel} has an entry point that is none: {name} = {target}")
        module, attribute = entry[1], entry[2]
        program = (
            f"#!/usr/bin/python{wanted.version}\nimport sys\n\nfrom {module} import {attribute.partition('.')[0]}\n\n"
            f'if __name__ == "__main__":\n    sys.exit({attribute}())\n'
        )
        tree.add(f"{wanted.prefix}/bin/{name}", regular(program.encode(), 0o755))


def _metadata(archive: zipfile.ZipFile, name: str, wheel: str) -> Message:
    """A file of the wheel's dist-info directory, parsed as headers; empty if it does not exist."""
    for path in archive.namelist():
        if re.fullmatch(rf"[^/]+\.dist-info/{name}", path):
            return email.message_from_bytes(archive.read(path))
    return Message()


def _environment(version: str, architecture: str) -> dict[str, str]:
    """The environment markers for requirements (dependency specifiers, packaging.python.org)."""
    return {
        "python_full_version": version,
        "python_version": ".".join(version.split(".")[:2]),
        "implementation_name": "cpython",
        "implementation_version": version,
        "os_name": "posix",
        "platform_machine": MACHINES[architecture],
        "platform_python_implementation": "CPython",
        "platform_system": "Linux",
        "sys_platform": "linux",
    }


def _flags(wanted: Python, version: str, architecture: str) -> list[str]:
    flags = ["--only-binary=:all:", f"--python-version={version}"]
    if not wanted.native:
        # Only pure distributions, whatever Python runs pip: the same files for every architecture.
        return [*flags, "--implementation=py", "--abi=none", "--platform=any"]
    machine = MACHINES[architecture]
    newest_first = [f"manylinux_2_{minor}" for minor in range(GLIBC_NEWEST, GLIBC_OLDEST - 1, -1)]
    platforms = [f"--platform={name}_{machine}" for name in (*newest_first, *_OLD_PLATFORMS)]
    abi = f"cp{''.join(wanted.version.split('.')[:2])}"
    return [*flags, "--implementation=cp", f"--abi={abi}", "--abi=abi3", "--abi=none", *platforms]
