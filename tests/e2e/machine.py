"""A user's machine for a test: a home of its own, the real command line in subprocesses, and nothing left afterwards.

Programs and images come from the real cache; everything else that the program keeps, its other caches too, lies below
`root`.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.support import forks
from tests.support.cache import make_cache
from wecityctl import paths
from wecityctl.toolchain import locate

PROGRAM = Path(sys.executable).with_name("wecityctl")
MARK = forks.MARK
NOT_OURS = ("KUBECONFIG", "PULUMI_CONFIG_PASSPHRASE", "PULUMI_CONFIG_PASSPHRASE_FILE", "XDG_RUNTIME_DIR", "NO_COLOR")
TIMEOUT = 240.0


@dataclass(frozen=True, slots=True)
class Done:
    """How a call ended."""

    arguments: tuple[str, ...]
    code: int
    out: str
    err: str

    def __str__(self) -> str:
        return f"wecityctl {' '.join(self.arguments)}: exit {self.code}\n--- stdout\n{self.out}\n--- stderr\n{self.err}"

    @property
    def text(self) -> str:
        return self.out + self.err

    def json(self) -> Any:
        assert self.out, self
        return json.loads(self.out)

    def lines(self) -> list[dict[str, Any]]:
        """The events of an NDJSON stream."""
        return [json.loads(line) for line in self.out.splitlines()]

    def result(self) -> dict[str, Any]:
        """The run's result at the end of an NDJSON stream."""
        found = [line["result"] for line in self.lines() if line["event"] == "run_finished"]
        assert len(found) == 1, self
        return dict(found[0])

    def stack(self, part: str) -> dict[str, Any]:
        """The result of the one stack whose name ends with `part`."""
        found = [item for item in self.result()["stacks"] if item["stack"].endswith(part)]
        assert len(found) == 1, self
        return dict(found[0])

    def changes(self) -> set[str]:
        """Every changed object of a run as `op Kind name`."""
        return {
            f"{change['op']} {change['type'].rpartition(':')[2]} {change['name']}"
            for stack in self.result()["stacks"]
            for change in stack["changes"]
        }


@dataclass(slots=True)
class Machine:
    """One home directory with what belongs to it. `passphrase` is given by the environment when it is set.

    `anew`: calls start the installed program; else they are forks of a process that has it loaded.
    """

    root: Path
    passphrase: str = ""
    anew: bool = False
    mark: str = field(default_factory=lambda: uuid.uuid4().hex)

    @property
    def state(self) -> Path:
        return self.root / "s" / paths.APP

    def environment(self, **more: str) -> dict[str, str]:
        own = {key: value for key, value in os.environ.items() if key not in NOT_OURS}
        own |= {
            "XDG_CACHE_HOME": str(make_cache(self.root / "k")),
            "HOME": str(self.root / "h"),
            "XDG_STATE_HOME": str(self.root / "s"),
            "XDG_CONFIG_HOME": str(self.root / "c"),
            "COLUMNS": "200",
            MARK: self.mark,
        }
        if self.passphrase:
            own["PULUMI_CONFIG_PASSPHRASE"] = self.passphrase
        return own | more

    def run(
        self,
        *arguments: str | os.PathLike[str],
        code: int | None = 0,
        timeout: float = TIMEOUT,
        env: Mapping[str, str] = {},
        stdin: str = "",
    ) -> Done:
        """Call the command line; fails unless it ends with `code` (None: any) and without a traceback."""
        words = tuple(str(item) for item in arguments)
        finished = (self._start if self.anew else self._fork)(words, self.environment(**env), timeout, stdin)
        done = Done(words, finished.returncode, finished.stdout, finished.stderr)
        assert "Traceback" not in done.text, done
        assert "internal error" not in done.text, done
        assert code is None or done.code == code, done
        return done

    def _start(
        self, words: Sequence[str], env: Mapping[str, str], timeout: float, stdin: str
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(PROGRAM), *words],
            env=env,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )

    def _fork(
        self, words: Sequence[str], env: Mapping[str, str], timeout: float, stdin: str
    ) -> subprocess.CompletedProcess[str]:
        return forks.shared().run(words, cwd=Path.cwd(), env=env, timeout=timeout, stdin=stdin)

    @contextlib.contextmanager
    def running(
        self, *arguments: str | os.PathLike[str], env: Mapping[str, str] = {}
    ) -> Iterator[subprocess.Popen[str]]:
        """The command line while it runs, its stdout in a pipe; killed at the end if it still does."""
        with tempfile.TemporaryFile("w+") as errors:
            process = subprocess.Popen(
                [str(PROGRAM), *map(str, arguments)],
                env=self.environment(**env),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
            )
            try:
                yield process
            finally:
                process.kill()
                process.wait(30)
                assert process.stdout is not None
                process.stdout.close()

    def processes(self) -> dict[int, str]:
        """The processes of this machine's runs that live: those with its mark, but not the embedded clouds'."""
        found, clouds = {}, set()
        for entry in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                forked = (entry / "comm").read_text().strip() == self.mark[: forks.NAME_LENGTH]
                if not forked and f"{MARK}={self.mark}\0".encode() not in (entry / "environ").read_bytes():
                    continue
                words = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                if forked and not words:
                    continue  # It has ended, and nobody has waited for it yet.
                found[int(entry.name)] = words
                if "wecityctl.local." in words:
                    clouds.add(int(entry.name))
        return {pid: words for pid, words in found.items() if not clouds.intersection([pid, *ancestors(pid)])}

    def clouds(self) -> list[str]:
        place = self.state / "clouds"
        return sorted(path.name for path in place.iterdir() if path.is_dir()) if place.is_dir() else []

    def clean(self) -> None:
        """End what runs, reset every cloud, remove the directory."""
        for pid in self.processes():
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        left = [cloud for cloud in self.clouds() if self.run("local", "reset", "-n", cloud, "-y", code=None).code]
        shutil.rmtree(self.root, ignore_errors=True)
        assert not left, f"clouds that could not be reset: {left}"


def ancestors(pid: int) -> Iterator[int]:
    """The parents of a process, up to the first."""
    while pid > 1:
        try:
            stat = Path(f"/proc/{pid}/stat").read_text()
        except OSError:
            return
        pid = int(stat.rpartition(")")[2].split()[1])
        yield pid


@contextlib.contextmanager
def machine(passphrase: str = "", *, anew: bool = False) -> Iterator[Machine]:
    """A machine with short paths (unix sockets lie below them), cleaned at the end whatever happened."""
    made = Machine(Path(tempfile.mkdtemp(prefix="we-")), passphrase, anew)
    (made.root / "h").mkdir(mode=0o700)
    try:
        yield made
    finally:
        made.clean()


def eventually(check: Callable[[], Any], seconds: float = 30.0) -> Any:
    """The first true answer of `check`; the last one is told when none comes."""
    deadline = time.monotonic() + seconds
    last: object = None
    while True:
        try:
            last = check()
            if last:
                return last
        except (AssertionError, OSError, KeyError) as error:
            last = error
        assert time.monotonic() < deadline, f"not in {seconds} s: {last!r}"
        time.sleep(0.2)


def refused_by_the_engine(machine: Machine, city: str | os.PathLike[str]) -> list[str]:
    """The stacks of a city whose state the engine calls invalid, each with what it says; nothing is written."""
    told = machine.run("env", city, "-o", "json").json()
    environment, found = machine.environment(**told["variables"]), []
    backend = Path(told["variables"]["PULUMI_BACKEND_URL"].removeprefix("file://").partition("?")[0])
    for path in sorted((backend / ".pulumi" / "stacks" / "wecity").glob("*.json")):
        if not json.loads(path.read_text())["checkpoint"].get("latest"):
            continue
        # It writes nothing for a valid state; for any other it would ask first, and nobody answers.
        done = subprocess.run(
            [
                str(locate("pulumi")),
                "-C",
                told["directory"],
                "state",
                "repair",
                "--stack",
                path.stem,
                "--non-interactive",
            ],
            env=environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        if "already valid" not in done.stdout + done.stderr:
            found.append(f"{path.stem}: {done.stdout}{done.stderr}")
    return found


@dataclass(frozen=True, slots=True)
class Cluster:
    """kubectl on one cluster."""

    kubeconfig: Path

    def kubectl(self, *arguments: str, stdin: str | None = None, code: int | None = 0, timeout: float = 90) -> str:
        """stdout, or stdout and stderr where a failure is allowed."""
        command = [str(locate("kubectl")), "--kubeconfig", str(self.kubeconfig), *arguments]
        done = subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=timeout, check=False)
        assert code is None or done.returncode == code, f"{' '.join(arguments)}: {done.stdout}{done.stderr}"
        return done.stdout if code == 0 else done.stdout + done.stderr

    def get(self, *arguments: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.kubectl("get", *arguments, "-o", "json"))
        return found

    def apply(self, *objects: dict[str, Any]) -> None:
        self.kubectl("apply", "-f", "-", stdin=json.dumps({"apiVersion": "v1", "kind": "List", "items": list(objects)}))

    def objects_of(self, city: str) -> set[str]:
        """What carries the city's label, as `Kind namespace/name`; what controllers made themselves is left out."""
        kinds = ",".join(self.kubectl("api-resources", "--verbs=list", "-o", "name").split())
        items = self.get(kinds, "-A", "-l", f"wecity.dev/city={city}")["items"]
        return {
            object_id(item["kind"], item["metadata"])
            for item in items
            if not item["metadata"].get("ownerReferences")
            # Made for every Service by the endpoints controller, which copies the labels and names no owner.
            and item["kind"] not in ("Endpoints", "Event")
        }


def object_id(kind: str, metadata: Mapping[str, Any]) -> str:
    place = f"{metadata['namespace']}/" if metadata.get("namespace") else ""
    return f"{kind} {place}{metadata['name']}"


def objects_in_state(backend: Path, city: str) -> list[str]:
    """The Kubernetes objects in the states of a city's stacks, as `Kind namespace/name`; with repetitions."""
    found = []
    for path in sorted((backend / ".pulumi" / "stacks" / "wecity").glob(f"{city}.*.json")):
        latest = json.loads(path.read_text())["checkpoint"].get("latest") or {}
        for item in latest.get("resources") or ():
            if item["type"].startswith("kubernetes:"):
                found.append(f"{item['type'].rpartition(':')[2]} {item['id']}")
        assert not latest.get("pending_operations"), path
    return found
