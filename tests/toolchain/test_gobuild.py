"""Building from Go modules: what is stamped, what is said on failure, and that an interruption costs little."""

from __future__ import annotations

import dataclasses
import json
import signal
import struct
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.processes import left_of, matching
from tests.toolchain.helpers import Recorder, catalogue, tiny
from wecityctl.local.proctable import Identity
from wecityctl.toolchain.gobuild import BuildSource
from wecityctl.toolchain.install import Installer
from wecityctl.toolchain.model import CBuild, PartInstallError, PartState, Phase, SourceName
from wecityctl.toolchain.settings import Settings
from wecityctl.toolchain.source_protocol import NotOfferedError, StoppedError

pytestmark = pytest.mark.build
PART = tiny(linker_values={"main.version": "v1.2.3"})

CHILD = """
import json, sys
from pathlib import Path
from tests.toolchain.helpers import PLATFORM, catalogue, tiny
from wecityctl.toolchain.install import Installer
from wecityctl.toolchain.settings import Settings
given = json.loads(sys.argv[1])
settings = Settings(
    root=Path(given["root"]), toolchain=Path(given["toolchain"]), offline=True, platform=PLATFORM,
    search_path=tuple(Path(each) for each in given["environment"]["PATH"].split(":")),
    environment=given["environment"],
)
part = tiny(linker_values={"main.version": "v1.2.3"})
report = lambda event: print(f"{event.phase} {event.detail}", flush=True)
Installer(settings, catalogue(part)).ensure(["tiny"], report)
"""


@pytest.fixture
def building(settings: Settings, go_environment: dict[str, str]) -> Settings:
    """Settings with which Go is found, and nothing else."""
    places = tuple(Path(entry) for entry in go_environment["PATH"].split(":"))
    return dataclasses.replace(settings, environment=go_environment, search_path=places)


@contextmanager
def start(settings: Settings, environment: dict[str, str]) -> Iterator[subprocess.Popen[str]]:
    """`ensure` in a process of its own, telling its progress on stdout; it is killed at the block's end."""
    given = {"root": str(settings.root), "toolchain": str(settings.toolchain), "environment": environment}
    with subprocess.Popen(
        [sys.executable, "-c", CHILD, json.dumps(given)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def of_module(settings: Settings) -> list[Identity]:
    """The processes that stand in the module's directory: Go, and the compilers that it has started."""
    return matching(lambda entry: (entry / "cwd").readlink().is_relative_to(settings.toolchain))


def test_a_part_is_built_stamped_and_named(building: Settings, go_module: Callable[..., None]) -> None:
    go_module()
    report = Recorder()
    installer = Installer(building, catalogue(PART))
    installer.ensure(["tiny"], report)
    [status] = installer.status()
    assert (status.state, status.source, status.version) == (PartState.OK, SourceName.BUILD, "v1.2.3")
    assert report.said(Phase.BUILDING) and report.said(Phase.READY, "built from tiny/go.mod")
    assert sorted(each.name for each in installer.store.directory(PART).iterdir()) == ["bin", "receipt.json"]


def test_a_build_without_its_stamp_is_not_accepted(building: Settings, go_module: Callable[..., None]) -> None:
    go_module()
    with pytest.raises(PartInstallError) as caught:
        Installer(building, catalogue(tiny())).ensure(["tiny"], Recorder())
    assert "says it is 0.0.0, not 1.2.3" in caught.value.details


def test_a_failing_build_says_what_the_compiler_said(building: Settings, go_module: Callable[..., None]) -> None:
    go_module("undefinedFunction()")
    with pytest.raises(PartInstallError) as caught:
        Installer(building, catalogue(PART)).ensure(["tiny"], Recorder())
    assert "undefined: undefinedFunction" in caught.value.details
    assert list((building.root / "tiny").iterdir()) == []


def test_without_go_it_is_said(settings: Settings, go_module: Callable[..., None], tmp_path: Path) -> None:
    go_module()
    source = BuildSource(settings, threading.Semaphore(1), threading.Event(), threading.Lock(), places=())
    with pytest.raises(NotOfferedError, match="Go is not installed"):
        source.provide(PART, tmp_path, lambda phase, detail: None)


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc, and only Linux ends children with their parent")
def test_a_killed_build_leaves_nothing_running_and_is_taken_up_again(
    building: Settings, go_module: Callable[..., None], tmp_path: Path
) -> None:
    go_module()
    # A cold cache of its own makes the first build last long enough to be killed in the middle.
    environment = {**building.environment, "GOCACHE": str(tmp_path / "cold")}
    with start(building, environment) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if "packages compiled" in line:
                break
        else:
            pytest.fail(f"the build was over before it could be killed: {process.stderr and process.stderr.read()}")
        assert of_module(building)
        process.send_signal(signal.SIGKILL)
        assert process.wait(10) == -signal.SIGKILL
    # Go is killed with us; its compilers end when they find that it has.
    assert left_of(of_module(building)) == []
    home = building.root / "tiny"
    assert not (home / PART.version).exists()
    assert [each for each in home.iterdir() if each.name.startswith(".")], "the dead owner's staging directory"

    with start(building, environment) as again:
        out, err = again.communicate(timeout=120)
    assert again.returncode == 0, err
    assert "ready build: v1.2.3" in out
    assert [each.name for each in home.iterdir()] == [PART.version]
    assert Installer(building, catalogue(PART)).status()[0].state is PartState.OK


def test_two_processes_build_a_part_once(building: Settings, go_module: Callable[..., None], tmp_path: Path) -> None:
    go_module()
    environment = {**building.environment, "GOCACHE": str(tmp_path / "cold")}
    with start(building, environment) as first, start(building, environment) as second:
        outputs = [process.communicate(timeout=120)[0] for process in (first, second)]
    assert (first.returncode, second.returncode) == (0, 0)
    assert sorted("ready build" in output for output in outputs) == [False, True]
    loser = next(output for output in outputs if "ready build" not in output)
    assert "waiting another process is installing it" in loser and "ready cache" in loser


def test_a_cancelled_build_ends_at_once(building: Settings, go_module: Callable[..., None], tmp_path: Path) -> None:
    go_module()
    cancelled = threading.Event()
    environment = {**building.environment, "GOCACHE": str(tmp_path / "cold")}
    settings = dataclasses.replace(building, environment=environment)
    source = BuildSource(settings, threading.Semaphore(1), cancelled, threading.Lock())
    (tmp_path / "staging" / "bin").mkdir(parents=True)

    def cancel_while_it_compiles(_: Phase, detail: str) -> None:
        if "packages compiled" in detail:
            assert of_module(building)
            cancelled.set()

    with pytest.raises(StoppedError):
        source.provide(PART, tmp_path / "staging", cancel_while_it_compiles)
    assert of_module(building) == [], "a compiler of the build runs on"


def test_ctrl_c_stops_the_builds_and_leaves_no_staging(
    building: Settings, go_module: Callable[..., None], tmp_path: Path
) -> None:
    go_module()
    environment = {**building.environment, "GOCACHE": str(tmp_path / "cold")}
    with start(building, environment) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if "packages compiled" in line:
                break
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=30)
    assert process.returncode != 0 and "KeyboardInterrupt" in err
    assert of_module(building) == []
    assert list((building.root / "tiny").iterdir()) == []


def test_settings_of_the_users_go_do_not_get_in(
    building: Settings, go_module: Callable[..., None], tmp_path: Path
) -> None:
    go_module()
    hostile = {**building.environment, "GOOS": "windows", "GOARCH": "386", "GOFLAGS": "-mod=vendor", "CGO_ENABLED": "1"}
    installer = Installer(dataclasses.replace(building, environment=hostile), catalogue(PART))
    installer.ensure(["tiny"], Recorder())
    assert installer.status()[0].state is PartState.OK


PT_INTERP = 3
WITH_C = tiny(
    linker_values={"main.version": "v1.2.3"},
    c_build=CBuild(tags=("chosen",), libraries=(), packages=("gcc", "pkg-config")),
)


def segments(program: Path) -> list[int]:
    """The types of a 64-bit ELF file's segments."""
    data = program.read_bytes()
    [begin] = struct.unpack_from("<Q", data, 0x20)
    size, count = struct.unpack_from("<HH", data, 0x36)
    return [struct.unpack_from("<I", data, begin + size * index)[0] for index in range(count)]


def test_a_part_with_c_is_built_with_its_tags_and_needs_no_library(
    building: Settings, go_module: Callable[..., None]
) -> None:
    go_module()
    home = building.toolchain / "tiny"
    # Without the tag or without C there is no `answer`, and the build fails.
    (home / "c.go").write_text(
        '//go:build chosen\n\npackage main\n\n// static int one(void) { return 1; }\nimport "C"\n\n'
        "var answer = C.one()\n"
    )
    (home / "use.go").write_text("package main\n\nfunc init() {\n\tif answer != 1 {\n\t\tpanic(answer)\n\t}\n}\n")
    installer = Installer(building, catalogue(WITH_C))
    installer.ensure(["tiny"], Recorder())
    assert PT_INTERP not in segments(installer.store.binary(WITH_C, "tiny")), "it asks for a dynamic linker"


def test_what_a_build_with_c_lacks_is_said_with_the_line_to_run(
    building: Settings, go_module: Callable[..., None]
) -> None:
    go_module()
    needs = CBuild(tags=(), libraries=("libabsent-of-wecity",), packages=("gcc", "libabsent-dev"))
    with pytest.raises(PartInstallError) as caught:
        Installer(building, catalogue(tiny(c_build=needs))).ensure(["tiny"], Recorder())
    assert "its build needs libabsent-of-wecity; offline; run: apt-get install -y gcc libabsent-dev" in (
        caught.value.details
    )


def test_without_a_c_compiler_it_is_said(building: Settings, go_module: Callable[..., None], go: Path) -> None:
    go_module()
    alone = dataclasses.replace(building, search_path=(go.resolve().parent,))
    with pytest.raises(PartInstallError) as caught:
        Installer(alone, catalogue(tiny(c_build=CBuild((), ("libseccomp",), ("gcc",))))).ensure(["tiny"], Recorder())
    assert "its build needs gcc, pkg-config, libseccomp; offline" in caught.value.details
