"""A shell for one document: its commands run one after another, and `cd` and `export` last from one to the next."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.docs.blocks import ROOT, Block, Step, matches, steps_of

SECONDS = 400
# Settings of whoever runs the tests that would change what the commands do.
_FOREIGN = ("XDG_", "PULUMI_", "WECITYCTL_", "KUBECONFIG", "NO_COLOR", "COLUMNS", "PYTHONPATH")


@dataclass(frozen=True)
class Shell:
    """`work` is where a document's commands begin; `home` is the user's home. `simulated`: no real node is made."""

    work: Path
    home: Path
    simulated: bool = True

    def prepare(self) -> None:
        """What a reader has: the examples of the repository, and its Makefile."""
        shutil.copytree(ROOT / "examples", self.work / "examples")
        for path in (self.work / "examples").rglob("*.yaml"):
            self.write(path, path.read_text(encoding="utf-8"))
        shutil.copy(ROOT / "Makefile", self.work)
        (self.work / ".shell").mkdir()

    def write(self, path: Path, text: str) -> None:
        """A file of the document; where nodes are simulated its clouds say so, and nothing else differs."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text.replace("nodes: real", "nodes: simulated") if self.simulated else text, encoding="utf-8")

    def follow(self, block: Block) -> None:
        """Do what the block says, and hold what comes out against what it shows."""
        if block.file:
            self.write(self.work / block.file, block.text)
            return
        for step in steps_of(block):
            self._take(block, step)

    def _take(self, block: Block, step: Step) -> None:
        code, output = self.run(step.command)
        assert code == 0, f"{block}: exit code {code} of\n{step.command}\n{output[-4000:]}"
        if step.expected:
            shown = "\n".join(step.expected)
            assert matches(step.expected, output), f"{block}: {step.command}\nshows\n{shown}\nbut prints\n{output}"

    def run(self, command: str) -> tuple[int, str]:
        """The exit code of a command and what it prints on both streams."""
        kept, place = self.work / ".shell" / "exports", self.work / ".shell" / "place"
        script = (
            f'set -eu -o pipefail; [ ! -f {kept} ] || . {kept}; cd "$(cat {place} 2>/dev/null || pwd)"\n'
            f"{command}\n"
            f"export -p > {kept}; pwd > {place}\n"
        )
        process = subprocess.Popen(
            ["bash", "-c", script],
            cwd=self.work,
            env=self.environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        try:
            output, _ = process.communicate(timeout=SECONDS)
        except BaseException:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGTERM)
            process.wait(30)
            raise
        return process.returncode, output

    def environment(self) -> dict[str, str]:
        """The environment of a user of their own who shares nothing with us but the cache."""
        base = {name: value for name, value in os.environ.items() if not name.startswith(_FOREIGN)}
        cache = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
        path = os.pathsep.join((str(Path(sys.executable).parent), base["PATH"]))
        return {**base, "HOME": str(self.home), "XDG_CACHE_HOME": cache, "PATH": path, "COLUMNS": "120"}


@contextlib.contextmanager
def home(directory: Path) -> Iterator[Path]:
    """A home whose embedded clouds are gone when the block ends, whatever happened in it."""
    directory.mkdir(mode=0o700)
    cleaner = Shell(directory, directory)
    (directory / ".shell").mkdir()
    try:
        yield directory
    finally:
        clouds = directory / ".local/state/wecityctl/clouds"
        names = [path.name for path in clouds.iterdir() if path.is_dir()] if clouds.is_dir() else []
        failed = [name for name in names if cleaner.run(f"wecityctl local reset --name {name} --confirm {name}")[0]]
        assert not failed, f"embedded clouds are left over: {failed}"
