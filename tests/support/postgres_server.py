"""A real PostgreSQL server for tests: Debian's programs, a cluster of its own, password authentication, loopback."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.control_plane import free_ports
from tests.support.processes import ENDING_WITH_PARENT
from tests.support.s3_server import wait_for_port

_PLACES = Path("/usr/lib/postgresql")


@dataclass(frozen=True)
class PostgresServer:
    """A running server: its port on loopback, the directory of its socket, and its administrator's password."""

    port: int
    socket: Path
    user: str
    password: str
    programs: Path

    def url(self, table: str = "pulumi_state", *, port: int | None = None, password: str | None = None) -> str:
        """The state's URL for a table, as Pulumi takes it; through another `port` where that is given."""
        who = f"{self.user}:{self.password if password is None else password}"
        return f"postgres://{who}@127.0.0.1:{port or self.port}/postgres?sslmode=disable&table={table}"

    def sql(self, statement: str) -> str:
        """What psql prints for a statement, unaligned."""
        env = {**os.environ, "PGPASSWORD": self.password}
        where = ["-h", "127.0.0.1", "-p", str(self.port), "-U", self.user, "-d", "postgres"]
        command = [str(self.programs / "psql"), *where, "-v", "ON_ERROR_STOP=1", "-qAtc", statement]
        return subprocess.run(command, env=env, capture_output=True, text=True, timeout=60, check=True).stdout.strip()


@contextlib.contextmanager
def postgres_server() -> Iterator[PostgresServer]:
    """A new server; skips the test where Debian's postgresql is not installed."""
    found = sorted(_PLACES.glob("*/bin/initdb"), key=lambda path: float(path.parts[-3]))
    if not found:
        pytest.skip("PostgreSQL is not installed; as root: apt-get install postgresql")
    programs = found[-1].parent
    # Not below pytest's own directory, which the unprivileged user may not enter.
    place = Path(tempfile.mkdtemp(prefix="wecity-postgres-"))
    behind: list[str] = []
    if os.getuid() == 0:
        # The server refuses to run as root.
        nobody = pwd.getpwnam("nobody")
        os.chown(place, nobody.pw_uid, nobody.pw_gid)
        behind = ["setpriv", f"--reuid={nobody.pw_uid}", f"--regid={nobody.pw_gid}", "--clear-groups", "--"]
    try:
        with _running(programs, place, behind) as server:
            yield server
    finally:
        shutil.rmtree(place)


@contextlib.contextmanager
def _running(programs: Path, place: Path, behind: list[str]) -> Iterator[PostgresServer]:
    (port,) = free_ports(1)
    server = PostgresServer(port, place, "keeper", "secret-of-the-tests", programs)
    (place / "password").write_text(server.password)
    (place / "password").chmod(0o644)
    init = [str(programs / "initdb"), f"--pgdata={place}/data", f"--username={server.user}"]
    init += [f"--pwfile={place}/password", "--auth=scram-sha-256", "--encoding=UTF8", "--locale=C.UTF-8"]
    done = subprocess.run([*behind, *init], cwd=place, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    settings = {"listen_addresses": "127.0.0.1", "port": port, "unix_socket_directories": place, "jit": "off"}
    options = [text for name, value in settings.items() for text in ("-c", f"{name}={value}")]
    log = place / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*ENDING_WITH_PARENT, *behind, str(programs / "postgres"), "-D", f"{place}/data", *options],
            stdin=subprocess.DEVNULL, stdout=output, stderr=output, cwd=place,
        )  # fmt: skip
    try:
        wait_for_port(port, process, log)
        yield server
    finally:
        process.send_signal(signal.SIGQUIT)
        process.wait(30)
