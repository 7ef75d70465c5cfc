"""A Debian repository of the tests' own, in a directory, that the real apt reads."""

from __future__ import annotations

import hashlib
import os
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

SUITE = "testsuite"
ARCHITECTURE = "amd64"


@dataclass(frozen=True, slots=True)
class Repository:
    """`environment` makes apt know this repository and no other."""

    root: Path

    @classmethod
    def make(cls, root: Path) -> Repository:
        """An empty repository under `root`."""
        repository = cls(root)
        (root / "pool").mkdir(parents=True)
        (root / "etc").mkdir()
        (root / "etc" / "sources.list").write_text(f"deb [trusted=yes] file:{root} {SUITE} main\n")
        (root / "etc" / "apt.conf").write_text(
            f'Dir::Etc::sourcelist "{root}/etc/sources.list";\nDir::Etc::sourceparts "{root}/etc/none";\n'
        )
        repository.publish()
        return repository

    @property
    def environment(self) -> dict[str, str]:
        return {"PATH": os.environ["PATH"], "APT_CONFIG": str(self.root / "etc" / "apt.conf")}

    def add(self, name: str, version: str, files: Mapping[str, str], depends: str = "") -> None:
        """Build a package and serve it in place of any other version."""
        for old in (self.root / "pool").glob(f"{name}_*"):
            old.unlink()
        (self.root / "build").mkdir(exist_ok=True)
        tree = Path(tempfile.mkdtemp(dir=self.root / "build"))
        tree.chmod(0o755)
        (tree / "DEBIAN").mkdir()
        lines = [
            f"Package: {name}",
            f"Version: {version}",
            f"Architecture: {ARCHITECTURE}",
            "Maintainer: n <n@example.org>",
        ]
        lines += [f"Depends: {depends}"] if depends else []
        (tree / "DEBIAN" / "control").write_text("\n".join([*lines, f"Description: {name}"]) + "\n")
        for path, content in files.items():
            (tree / path).parent.mkdir(parents=True, exist_ok=True)
            (tree / path).write_text(content)
        target = self.root / "pool" / f"{name}_{version}_{ARCHITECTURE}.deb"
        subprocess.run(
            ["dpkg-deb", "--root-owner-group", "--build", tree, target], check=True, stdout=subprocess.DEVNULL
        )
        self.publish()

    def publish(self) -> None:
        """Write the indexes anew."""
        stanzas = []
        for package in sorted((self.root / "pool").glob("*.deb")):
            fields = subprocess.run(["dpkg-deb", "--field", package], check=True, capture_output=True, text=True).stdout
            content = package.read_bytes()
            stanzas.append(
                f"{fields.strip()}\nFilename: pool/{package.name}\nSize: {len(content)}\n"
                f"SHA256: {hashlib.sha256(content).hexdigest()}\n"
            )
        index = "\n".join(stanzas)
        place = self.root / "dists" / SUITE
        (place / "main" / f"binary-{ARCHITECTURE}").mkdir(parents=True, exist_ok=True)
        (place / "main" / f"binary-{ARCHITECTURE}" / "Packages").write_text(index)
        digest = hashlib.sha256(index.encode()).hexdigest()
        (place / "Release").write_text(
            f"Origin: Debian\nCodename: {SUITE}\nSuite: {SUITE}\nArchitectures: {ARCHITECTURE}\nComponents: main\n"
            f"SHA256:\n {digest} {len(index.encode())} main/binary-{ARCHITECTURE}/Packages\n"
        )
