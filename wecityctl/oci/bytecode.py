"""Compiles Python sources at build time, because a read-only container would have to compile them at every start.

The image's own interpreter compiles, run through the image's own dynamic linker: without root and chroot.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

from wecityctl import cancellation
from wecityctl.oci.elf import TRIPLETS
from wecityctl.oci.tree import ImageBuildError, Tree, regular

COMPILE_SECONDS = 300
LINKERS = {"amd64": "lib64/ld-linux-x86-64.so.2", "arm64": "lib/ld-linux-aarch64.so.1"}


def compile_sources(tree: Tree, python: str, places: Sequence[str], architecture: str, scratch: Path) -> None:
    """Add `__pycache__` for the sources under the absolute `places`; the files are not checked at run time."""
    with tempfile.TemporaryDirectory(dir=scratch, prefix="python-") as name:
        root = Path(name)
        tree.write_directory(root)
        library = root / "usr/lib" / TRIPLETS[architecture]
        interpreter = [
            str(root / LINKERS[architecture]),
            "--library-path",
            str(library),
            str(root / f"usr/bin/python{python}"),
        ]
        # One process, a fixed order and hash seed, and no implicit bytecode: the output is reproducible.
        arguments = [
            "-B",
            "-S",
            "-m",
            "compileall",
            "-f",
            "-q",
            "-j",
            "1",
            "--invalidation-mode",
            "unchecked-hash",
            "-s",
            str(root),
        ]
        done = cancellation.run(
            [*interpreter, *arguments, *(str(root / place.lstrip("/")) for place in places)],
            env={"PYTHONHOME": str(root / "usr"), "PYTHONSAFEPATH": "1", "PYTHONHASHSEED": "0", "LC_ALL": "C.UTF-8"},
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
            timeout=COMPILE_SECONDS,
        )
        if done.returncode != 0:
            raise ImageBuildError(
                "the image's Python sources do not compile", details=(done.stdout + done.stderr)[-2000:]
            )
        for place in places:
            for path in sorted((root / place.lstrip("/")).rglob("__pycache__/*.pyc")):
                tree.add(str(path.relative_to(root)), regular(path.read_bytes()))
