"""The release before as a program, so that a test can make a city with it.

`program.tar.xz` is the content of its wheel. After a release, write it anew: `python -m tests.e2e.released WHEEL`.
"""

from __future__ import annotations

import io
import sysconfig
import tarfile
import venv
import zipfile
from pathlib import Path

ARCHIVE = Path(__file__).with_name("program.tar.xz")


def install(directory: Path) -> list[str]:
    """Install the program below `directory` and return the command that runs it.

    It has an environment of its own with today's dependencies: those of the environment that runs the tests.
    """
    program, environment = directory / "program", directory / "environment"
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(program, filter="data")
    venv.create(environment)
    packages = sysconfig.get_path("purelib", vars={"base": str(environment), "platbase": str(environment)})
    # Python does not follow the `.pth` files of directories that are added so, and thus does not find today's program.
    Path(packages, "released.pth").write_text(f"{program}\n{sysconfig.get_path('purelib')}\n")
    return [str(environment / "bin" / "python"), "-P", "-c", "from wecityctl.entry import main; main()"]


def pack(wheel: Path) -> None:
    """Replace the archive by the content of `wheel`."""
    with zipfile.ZipFile(wheel) as source, tarfile.open(ARCHIVE, "w:xz", preset=9) as archive:
        for name in sorted(source.namelist()):
            content = source.read(name)
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            entry.mode = 0o644
            archive.addfile(entry, io.BytesIO(content))
