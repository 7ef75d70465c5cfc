"""A shell for one document: its commands run one after another, and `cd` and `export` last from one to the next."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from tests.docs.blocks import ROOT, Block, Step, matches, steps_of
from tests.support import fork_program
from tests.support.cache import make_cache
from wecityctl.engine.secrets.crypto import SIGNATURE

SECONDS = 400
STATE = ".local/state/wecityctl"
# Settings of whoever runs the tests that would change what the commands do.
_FOREIGN = ("XDG_", "PULUMI_", "WECITYCTL_", "KUBECONFIG", "NO_COLOR", "COLUMNS", "PYTHONPATH")


@dataclass(frozen=True)
class Shell:
    """`work` is where a document's commands begin; `home` is the user's home. `simulated`: no real node is made.

    `anew`: each command is a program that is started, as its reader starts it, and no fork of one that is loaded.
    """

    work: Path
    home: Path
    simulated: bool = True
    anew: bool = False

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
        """The environment of a user of their own who shares nothing with us but programs and images."""
        base = {name: value for name, value in os.environ.items() if not name.startswith(_FOREIGN)}
        cache = str(make_cache(self.home / ".cache"))
        programs = Path(sys.executable).parent
        first = [] if self.anew else [fork_program.directory()]
        path = os.pathsep.join((*map(str, (*first, programs)), base["PATH"]))
        return {**base, "HOME": str(self.home), "XDG_CACHE_HOME": cache, "PATH": path, "COLUMNS": "120"}


@dataclass(slots=True)
class Homes:
    """Homes for documents on simulated nodes, each as its reader finds it: empty but for a city that is up.

    Bringing the city up takes longest, so it is kept from one document to the next while it is left as it was.
    """

    directory: Path
    _as_brought_up: frozenset[str] = frozenset()

    def empty(self) -> Path:
        """A home with nothing in it."""
        self.end()
        return self.directory

    def with_city(self, city: str) -> Path:
        """A home in which nothing was done but `wecityctl up examples/CITY`."""
        state = self.directory / STATE
        if not self._as_brought_up or self._seen() != self._as_brought_up:
            self.end()
            bringing = Shell(self.directory / "work", self.directory)
            bringing.prepare()
            code, output = bringing.run(f"wecityctl up examples/{city} --yes")
            assert code == 0, output[-4000:]
            self._as_brought_up = self._seen()
        _remove_but(self.directory, state)
        for name in ("pulumi", "logs"):
            shutil.rmtree(state / name, ignore_errors=True)
        return self.directory

    def end(self) -> None:
        """Take away what runs, and everything that was kept."""
        self._as_brought_up = frozenset()
        end_clouds(self.directory)
        shutil.rmtree(self.directory)
        self.directory.mkdir(mode=0o700)

    def _seen(self) -> frozenset[str]:
        """What the state says there is: clouds, stacks, their resources with what they were asked to be."""
        state = self.directory / STATE
        found = {path.name for path in (state / "clouds").iterdir() if path.is_dir()}
        for path in (state / "state/.pulumi/stacks").rglob("*.json"):
            # The same secret is encrypted anew at each writing.
            stored = json.loads(path.read_text(encoding="utf-8"), object_hook=lambda it: "" if SIGNATURE in it else it)
            latest = stored["checkpoint"].get("latest") or {}
            found.add(path.name)
            for item in latest.get("resources") or ():
                found.add(f"{item['urn']} {json.dumps(item.get('inputs'), sort_keys=True)}")
        return frozenset(found)


def _remove_but(directory: Path, kept: Path) -> None:
    """Remove everything below `directory` but `kept` and what is in it."""
    for path in directory.iterdir():
        if path == kept:
            continue
        if kept.is_relative_to(path) and not path.is_symlink():
            _remove_but(path, kept)
        elif path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()


def end_clouds(directory: Path) -> None:
    """End every embedded cloud of the home `directory`."""
    clouds = directory / STATE / "clouds"
    names = [path.name for path in clouds.iterdir() if path.is_dir()] if clouds.is_dir() else []
    with tempfile.TemporaryDirectory() as work:
        cleaner = Shell(Path(work), directory)
        (cleaner.work / ".shell").mkdir()
        failed = [name for name in names if cleaner.run(f"wecityctl local reset --name {name} --confirm {name}")[0]]
    assert not failed, f"embedded clouds are left over: {failed}"
