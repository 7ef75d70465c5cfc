"""Unpacks Debian packages into a layer with dpkg-deb. Maintainer scripts are not run.

What such scripts would do (users, alternatives, caches) is declared in the recipes.
"""

from __future__ import annotations

import fnmatch
import subprocess
import tarfile
from collections.abc import Sequence
from pathlib import Path

from wecityctl import cancellation
from wecityctl.oci.tree import Entry, ImageBuildError, Tree, merged

# Documentation that a container does not need. Copyright files are kept, because licences require them.
ALWAYS_DROPPED = (
    "/usr/share/man/*",
    "/usr/share/info/*",
    "/usr/share/locale/*",
    "/usr/share/lintian/*",
    "/usr/share/bug/*",
    "/usr/share/menu/*",
    "/usr/share/doc-base/*",
    "/usr/share/bash-completion/*",
    "/usr/lib/systemd/*",
    "/etc/init.d/*",
    "/etc/cron.*",
    "/etc/logrotate.d/*",
    "/etc/ufw/*",
)
DOCUMENTATION = "/usr/share/doc/"
COPYRIGHT = "/copyright"
UNPACK_SECONDS = 300


def unpack(tree: Tree, package: Path, drop: Sequence[str], only: Sequence[str] | None = None) -> None:
    """Add the package's files to `tree`, except for those that match `drop` or that no image needs.

    With `only` (absolute paths after the merge of /usr), just these files and the copyright file are added. Raises
    `ImageBuildError` if the package cannot be read or lacks one of them.
    """
    cancellation.check()
    seen: set[str] = set()
    command = ["dpkg-deb", "--fsys-tarfile", str(package)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stderr is not None
        try:
            with tarfile.open(fileobj=process.stdout, mode="r|") as tar:
                for member in tar:
                    path = f"/{merged(member.name)}"
                    seen.add(path)
                    if only is None or path in only or (path.startswith(DOCUMENTATION) and path.endswith(COPYRIGHT)):
                        _add_member(tree, tar, member, drop)
        except tarfile.TarError as error:
            raise ImageBuildError(f"{package.name} cannot be unpacked", details=str(error)) from error
        finally:
            process.stdout.close()
            problem = process.stderr.read().decode(errors="replace").strip()
        if process.wait(UNPACK_SECONDS) != 0:
            raise ImageBuildError(f"{package.name} cannot be unpacked", details=problem)
    if absent := sorted(set(only or ()) - seen):
        raise ImageBuildError(f"{package.name} has no {', '.join(absent)}")


def control(package: Path) -> bytes:
    """The package's control fields, in the form that image scanners expect under /var/lib/dpkg/status.d."""
    done = cancellation.run(
        ["dpkg-deb", "--field", str(package)], capture_output=True, check=False, timeout=UNPACK_SECONDS
    )
    if done.returncode != 0:
        raise ImageBuildError(f"{package.name} is no Debian package", details=done.stderr.decode(errors="replace"))
    return done.stdout


def dropped(path: str, drop: Sequence[str]) -> bool:
    """Whether the file at the absolute `path` is left out."""
    if path.startswith(DOCUMENTATION):
        # <package> (a directory, or a link to that of another package) and <package>/copyright are kept.
        inside = path.removeprefix(DOCUMENTATION)
        return "/" in inside and not (path.endswith(COPYRIGHT) and inside.count("/") == 1)
    return any(fnmatch.fnmatchcase(path, pattern) for pattern in (*ALWAYS_DROPPED, *drop))


def _add_member(tree: Tree, tar: tarfile.TarFile, member: tarfile.TarInfo, drop: Sequence[str]) -> None:
    path = merged(member.name)
    if not path or dropped(f"/{path}", drop):
        return
    mode = member.mode & 0o7777
    if member.isdir():
        tree.add(path, Entry(tarfile.DIRTYPE, mode, member.uid, member.gid))
    elif member.issym():
        tree.add(path, Entry(tarfile.SYMTYPE, 0o777, target=member.linkname))
    elif member.islnk():
        first = tree.get(merged(member.linkname))
        if first is not None:
            tree.add(path, first)
    elif member.isreg():
        source = tar.extractfile(member)
        assert source is not None
        tree.add(path, Entry(tarfile.REGTYPE, mode, member.uid, member.gid, content=source.read()))
    else:
        raise ImageBuildError(f"{member.name} is neither a file nor a directory nor a link")
