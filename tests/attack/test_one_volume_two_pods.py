"""Two pods of a store that have its volume at once: the second waits until no process of the first is left.

Each pod has PID and IPC namespaces of its own, as on a node: its server is process 1 in each of them, and its shared
memory is not seen by the other's, so that PostgreSQL's own checks find nothing.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from stacks.platforms.application.cache.program import DATA as CACHE_DATA
from stacks.platforms.application.cache.program import probe_password, sha256
from stacks.platforms.application.postgresql.program import BINARIES
from stacks.platforms.application.postgresql.program import DATA as POSTGRESQL_DATA
from tests.attack.conftest import Unpacked
from tests.attack.served import ADMIN, Attacked, Served, attacked, wait_until
from tests.images.rootfs import RootFilesystem, free_port, needs_root
from tests.support.processes import below
from wecityctl.local.proctable import Identity
from wecityctl.model.city import Use

pytestmark = [pytest.mark.build, needs_root, pytest.mark.timeout(200)]

WAITS = "another pod has the volume open, locked by "


@dataclass(slots=True)
class Container:
    """One container's script in namespaces of its own, with the volume."""

    process: subprocess.Popen[bytes]
    log: Path
    volume: Path

    @property
    def said(self) -> str:
        return self.log.read_text(errors="replace")

    @property
    def first(self) -> Identity:
        """The process that is number 1 inside."""
        return below(self.process.pid)[0]

    def has_data_open(self) -> bool:
        """Whether a process of the container has a file of the volume open that is not the lock."""
        for each in below(self.process.pid):
            with contextlib.suppress(OSError):
                for entry in Path(f"/proc/{each.pid}/fd").iterdir():
                    with contextlib.suppress(OSError):
                        target = entry.readlink()
                        if str(self.volume) in str(target) and target.name != ".lock":
                            return True
        return False

    def end(self) -> None:
        """End it as a node does that has no time: the kernel ends the others with process 1."""
        for each in below(self.process.pid)[:1]:
            each.send(signal.SIGKILL)
        self.process.wait(20)


@dataclass(slots=True)
class Store:
    """A store's pods over one volume. `script` gives a container's script by its name, for this volume and `port`."""

    image: RootFilesystem
    served: Served
    mount: str
    environment: Mapping[str, str]
    volume: Path
    logs: Path
    started: list[Container] = field(default_factory=list)

    def start(self, name: str, port: int = 5432, *replacing: tuple[str, str]) -> Container:
        moved = [(self.mount, f"/tmp{self.volume}"), *replacing]
        words = self.served.command(name, *moved)
        log = self.logs / f"{len(self.started)}-{name}"
        values = {**self.image.environment, **self.environment, "PGPORT": str(port), "WRITABLE": ""}
        command = ["unshare", "--pid", "--ipc", "--fork", *self.image.command(words)]
        with log.open("wb") as stream:
            process = subprocess.Popen(
                command, env={**values, "SHARED": str(self.volume)}, stdout=stream, stderr=stream
            )
        self.started.append(Container(process, log, self.volume))
        return self.started[-1]

    def finish(self, name: str) -> str:
        """Run a container to its end; what it said."""
        container = self.start(name)
        assert container.process.wait(90) == 0, container.said
        return container.said


@contextmanager
def store(name: str, image: RootFilesystem, mount: str, logs: Path, **environment: str) -> Iterator[Store]:
    city: Attacked = attacked(("health", "code", Use("postgresql", "db")), ("health", "code", Use("cache", "cache")))
    served = Served(city, name, image)
    served.certify()
    # Not under pytest's own directory, which other users may not enter.
    volume = Path(tempfile.mkdtemp(prefix=f"volume-{name}-"))
    volume.chmod(0o700)
    os.chown(volume, 999, 999)
    found = Store(image, served, mount, environment, volume, logs)
    try:
        yield found
    except BaseException:
        for container in found.started:
            print(container.log.name, container.said, sep="\n")
        raise
    finally:
        for container in found.started:
            if container.process.poll() is None:
                container.end()
        shutil.rmtree(volume, ignore_errors=True)


def refuses_to_open(container: Container) -> None:
    """It says what it waits for, and opens nothing."""
    wait_until(lambda: WAITS in container.said or container.process.poll() is not None)
    assert container.process.poll() is None, container.said
    assert not container.has_data_open()
    assert container.said.count(WAITS) == 1 and os.uname().nodename in container.said


def ends_when_told(container: Container) -> None:
    container.first.send(signal.SIGTERM)
    assert container.process.wait(10) == 143


def test_postgresql(unpacked: Unpacked, tmp_path: Path) -> None:
    image = unpacked("postgresql")

    def sql(port: int, statement: str) -> Callable[[], bool]:
        words: Sequence[str] = [f"{BINARIES}/psql", "-h127.0.0.1", f"-p{port}", "-Upostgres", "-qAtc", statement]
        return lambda: image.run(*words, PGPASSWORD=ADMIN, PGSSLMODE="disable").stdout.strip() == "kept"

    with store("postgresql", image, POSTGRESQL_DATA, tmp_path, POSTGRES_PASSWORD=ADMIN) as pods:
        assert WAITS not in pods.finish("initialise")
        ports = free_port(), free_port()
        holder = pods.start("postgresql", ports[0])
        wait_until(sql(ports[0], "CREATE TABLE notes AS SELECT 'kept' AS note; SELECT note FROM notes"))
        record = next(pods.volume.glob("*/postmaster.pid")).read_text()
        assert holder.has_data_open()
        # Which every pod's server takes for its own.
        assert record.splitlines()[0] == "1"

        # Unlocked, it removes the record of the running server and opens its data.
        initialising = pods.start("initialise")
        refuses_to_open(initialising)
        ends_when_told(initialising)
        # A pod that was initialised before the other's server started.
        second = pods.start("postgresql", ports[1])
        refuses_to_open(second)
        assert next(pods.volume.glob("*/postmaster.pid")).read_text() == record
        assert sql(ports[0], "SELECT note FROM notes")()

        holder.end()
        wait_until(sql(ports[1], "SELECT note FROM notes"))
        second.end()
        assert WAITS not in pods.finish("initialise"), "a lock is left behind"


def test_cache(unpacked: Unpacked, tmp_path: Path) -> None:
    image = unpacked("cache")
    secrets = {"ADMIN_SHA256": sha256(ADMIN), "PROBE_SHA256": sha256(probe_password(ADMIN))}
    with store("cache", image, CACHE_DATA, tmp_path, **secrets) as pods:
        ports = free_port(), free_port()
        settings = {port: f"bind 127.0.0.1\nport {port}\ndir /tmp{pods.volume}\nsave 300 1\n" for port in ports}
        for port, text in settings.items():
            (image.root / f"etc/cache-{port}.conf").write_text(text)

        def server(port: int) -> Container:
            return pods.start("cache", port, ("/etc/cache/cache.conf", f"/etc/cache-{port}.conf"))

        def answers(port: int, words: str) -> Callable[[], bool]:
            def ask() -> bool:
                with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 5) as connection:
                    connection.sendall(f"{words}\r\n".encode())
                    return connection.recv(100) in (b"+OK\r\n", b"$4\r\nkept\r\n")
                return False

            return ask

        assert WAITS not in pods.finish("prepare")
        holder = server(ports[0])
        wait_until(answers(ports[0], "SET note kept"))
        assert answers(ports[0], "SAVE")()
        users = pods.volume / "users.acl"
        before = users.stat().st_ino

        # Unlocked, it replaces the list of users that the running server writes.
        preparing = pods.start("prepare")
        refuses_to_open(preparing)
        ends_when_told(preparing)
        assert users.stat().st_ino == before
        second = server(ports[1])
        refuses_to_open(second)
        assert answers(ports[0], "GET note")()

        holder.end()
        wait_until(answers(ports[1], "GET note"))
        second.end()
        assert WAITS not in pods.finish("prepare"), "a lock is left behind"


def test_a_volume_that_cannot_be_locked_is_not_opened(unpacked: Unpacked, tmp_path: Path) -> None:
    image = unpacked("cache")
    with store("cache", image, CACHE_DATA, tmp_path, ADMIN_SHA256="0", PROBE_SHA256="0") as pods:
        # A program in the way of `flock` fails as it does over a file system without locks.
        container = pods.start("prepare", 5432, ("set -eu", "set -eu; flock() { return 71; }"))
        assert container.process.wait(20) == 1
        assert "cannot be locked" in container.said and "(code 71)" in container.said
        assert {path.name for path in pods.volume.iterdir()} == {".lock"}
