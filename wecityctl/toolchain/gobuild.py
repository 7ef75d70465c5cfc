"""Builds a part from its pinned Go module. This is the last source; it needs only a Go module proxy.

Go's own caches make it cheap to repeat an interrupted build; wecityctl keeps no state between attempts.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import selectors
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from wecityctl.toolchain import system
from wecityctl.toolchain.model import CBuild, Part, Phase, SourceName
from wecityctl.toolchain.path_source import find
from wecityctl.toolchain.settings import Settings
from wecityctl.toolchain.source_protocol import NotOfferedError, Progress, Provided, SourceFailedError, StoppedError

GO_PLACES = (Path("/usr/local/go/bin"), Path("/usr/lib/go/bin"))
TICK_SECONDS = 1.0
KILL_AFTER_SECONDS = 10.0
PR_SET_PDEATHSIG = 1
KEPT_LINES = 15


@dataclass(frozen=True, slots=True)
class BuildSource:
    """Builds a part's programs with the Go toolchain on this machine; `slots` limits the number of concurrent builds.

    If a part needs a C compiler and libraries, missing ones are installed first, with the lock `apt` held.
    """

    settings: Settings
    slots: threading.Semaphore
    cancelled: threading.Event
    apt: threading.Lock
    places: tuple[Path, ...] = GO_PLACES
    name: SourceName = SourceName.BUILD
    is_named: bool = False

    def provide(self, part: Part, staging: Path, progress: Progress) -> Provided:
        """Build into `staging/bin`."""
        module = self.settings.toolchain / part.name
        if not part.buildable or not (module / "go.mod").is_file():
            raise NotOfferedError("it is in no Go module, so it cannot be built")
        go = find("go", (*self.settings.search_path, *self.places))
        if go is None:
            raise NotOfferedError("Go is not installed, so it cannot be built")
        if part.c_build is not None:
            self._prepare(part.c_build, progress)
        progress(Phase.WAITING, "for a free build slot")
        while not self.slots.acquire(timeout=TICK_SECONDS):
            if self.cancelled.is_set():
                raise StoppedError
        try:
            self._build(go, module, part, staging, progress)
        finally:
            self.slots.release()
        return Provided(part.version.removeprefix("v"), f"built from {module.name}/go.mod")

    def _prepare(self, needs: CBuild, progress: Progress) -> None:
        """Install what a build with cgo needs.

        Raises `SourceFailedError` with what is missing and the command to run.
        """
        if not system.missing_for_build(needs, self.settings):
            return
        progress(Phase.WAITING, "for apt-get")
        with self.apt:
            absent = system.missing_for_build(needs, self.settings)
            if not absent:
                return
            progress(Phase.INSTALLING, f"{', '.join(absent)}, which its build needs")
            try:
                system.install(needs.packages, self.settings)
            except SourceFailedError as error:
                raise SourceFailedError(f"its build needs {', '.join(absent)}; {error}") from error

    def _build(self, go: Path, module: Path, part: Part, staging: Path, progress: Progress) -> None:
        temporary = staging / "tmp"
        temporary.mkdir(exist_ok=True)
        watch = _Watch(progress)
        watch.tick()
        process = subprocess.Popen(
            self._command(go, part, staging / "bin"),
            cwd=module,
            env=self._environment(part, temporary),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            # A process group of its own: on Ctrl-C we signal Go and its compilers once.
            start_new_session=True,
            preexec_fn=_die_with_parent(),
        )
        try:
            self._follow(process, watch)
        finally:
            _stop(process)
        if process.returncode != 0:
            raise SourceFailedError(f"go build failed:\n{watch.tail()}")

    def _command(self, go: Path, part: Part, output: Path) -> list[str]:
        binaries = part.binaries_for(self.settings.platform)
        stamps = [f"-X {name}={value}" for name, value in part.linker_values.items()]
        # A single program is named here, because Go would call go.etcd.io/etcd/server/v3 "server".
        target = str(output / binaries[0].name) if len(binaries) == 1 else f"{output}{os.sep}"
        flags = ["-v", "-trimpath", "-buildvcs=false", "-mod=readonly"]
        if part.c_build is not None:
            flags += ["-buildmode=pie", "-tags", ",".join(part.c_build.tags)]
            stamps += ["-linkmode external", "-extldflags -static-pie"]
        flags += ["-ldflags", " ".join(["-s", "-w", *stamps])]
        return [str(go), "build", *flags, "-o", target, *(binary.package for binary in binaries)]

    def _environment(self, part: Part, temporary: Path) -> dict[str, str]:
        env = dict(self.settings.environment)
        for name in ("GOOS", "GOARCH", "GOBIN", "GOEXPERIMENT"):
            env.pop(name, None)
        # Go's temporary files are in the staging directory, so that they are removed even if a build is killed.
        env.update(CGO_ENABLED="0" if part.c_build is None else "1", GOWORK="off", GOTMPDIR=str(temporary))
        if self.settings.offline:
            env["GOPROXY"] = "off"
        return env

    def _follow(self, process: subprocess.Popen[bytes], watch: _Watch) -> None:
        assert process.stderr is not None
        with selectors.DefaultSelector() as selector:
            selector.register(process.stderr, selectors.EVENT_READ)
            while True:
                if self.cancelled.is_set():
                    raise StoppedError
                if selector.select(TICK_SECONDS):
                    chunk = os.read(process.stderr.fileno(), 1 << 16)
                    if not chunk:
                        break
                    watch.feed(chunk)
                watch.tick()
        process.wait()


class _Watch:
    """Converts the output of `go build -v` into progress, and keeps the last lines for an error message."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._rest = b""
        self._compiled = 0
        self._doing = "resolving modules"
        self._lines: deque[str] = deque(maxlen=KEPT_LINES)
        self._next = 0.0

    def feed(self, chunk: bytes) -> None:
        *lines, self._rest = (self._rest + chunk).split(b"\n")
        for raw in lines:
            line = raw.decode(errors="replace")
            if line.startswith("go: downloading "):
                self._doing = line.removeprefix("go: ")
            elif " " not in line and line and not line.startswith("#"):
                self._compiled += 1
                self._doing = f"{self._compiled} packages compiled, now {line}"
            else:
                self._lines.append(line)

    def tick(self) -> None:
        now = time.monotonic()
        if now >= self._next:
            self._next = now + TICK_SECONDS
            self._progress(Phase.BUILDING, self._doing)

    def tail(self) -> str:
        rest = [self._rest.decode(errors="replace")] if self._rest else []
        return "\n".join([*self._lines, *rest])


def _stop(process: subprocess.Popen[bytes]) -> None:
    """End the build and its compilers, first by SIGINT, then by SIGKILL. When this returns none of them runs.

    Go handles an interrupt without waiting for its compilers. The Go process is reaped only after its whole process
    group has ended: until then its ID, by which the group is signalled, cannot be reused.
    """
    if process.returncode is None:
        for signum in (signal.SIGINT, signal.SIGKILL):
            # Not reaped yet, so the process group exists.
            os.killpg(process.pid, signum)
            if _comes(lambda: _has_ended(process.pid), KILL_AFTER_SECONDS):
                break
        os.killpg(process.pid, signal.SIGKILL)
        _comes(lambda: not _group_runs(process.pid), KILL_AFTER_SECONDS)
        process.wait()
    if process.stderr is not None:
        process.stderr.close()


def _comes(true: Callable[[], bool], seconds: float) -> bool:
    """Wait until `true()` holds, for at most `seconds`; returns whether it holds."""
    deadline = time.monotonic() + seconds
    while not true():
        if time.monotonic() >= deadline:
            return False
        time.sleep(0.01)
    return True


def _has_ended(pid: int) -> bool:
    """Whether our child process has ended. Does not reap it."""
    return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def _group_runs(group: int) -> bool:
    """Whether a process of the group runs, not counting zombies.

    Without /proc, the signal is assumed to have worked.
    """
    for entry in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            state, _, found, *_ = entry.read_text().rpartition(")")[2].split()
            if int(found) == group and state not in "ZX":
                return True
    return False


def _die_with_parent() -> Callable[[], None] | None:
    """A `preexec_fn` that makes the child end when this process is killed; `None` on systems other than Linux."""
    if sys.platform != "linux":
        return None
    prctl = ctypes.CDLL(None).prctl
    return lambda: prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
