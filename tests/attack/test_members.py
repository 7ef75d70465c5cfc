"""Two members of PostgreSQL: no row that was acknowledged is lost, and no two of them write.

Members are killed and cut off from the API server while rows are written. Pods, the Service and network policies are
those of a real node elsewhere (`tests/e2e/test_highly_available.py`).
"""

from __future__ import annotations

import contextlib
import importlib
import ssl
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count, cycle, pairwise
from pathlib import Path
from typing import Any

import pytest

from tests.attack.conftest import Unpacked
from tests.attack.members import ADMIN, SECRET, Members, members
from tests.e2e.machine import eventually
from tests.images.rootfs import needs_root
from tests.support.control_plane import ControlPlane

pytestmark = [pytest.mark.cluster, pytest.mark.build, needs_root, pytest.mark.timeout(300)]

# Seconds: the lease of the primary is 20.
RESUMED = 40
REPLICATION = "wecity-replication"


@dataclass(slots=True)
class Writer:
    """Writes rows to whichever member takes them; `acknowledged` has the time of each whose commit has returned."""

    two: Members
    driver: Any
    acknowledged: dict[int, float] = field(default_factory=dict)
    done: threading.Event = field(default_factory=threading.Event)

    def write(self) -> None:
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        members, connection, rows = cycle(self.two.all), None, count(1)
        while not self.done.is_set():
            row = next(rows)
            try:
                connection = connection or self.driver.connect(
                    "postgres", password=ADMIN, host=next(members).address, timeout=3, ssl_context=context
                )
                cursor = connection.cursor()
                cursor.execute("INSERT INTO written VALUES (%s)", (row,))
                connection.commit()
                self.acknowledged[row] = time.monotonic()
                self.done.wait(0.01)
            except (self.driver.Error, OSError):
                with contextlib.suppress(self.driver.Error, OSError, AttributeError):
                    connection.close()  # type: ignore[union-attr]
                connection = None
                self.done.wait(0.2)

    def goes_on(self) -> None:
        """Wait until rows are acknowledged that were not before."""
        before = len(self.acknowledged)
        eventually(lambda: len(self.acknowledged) > before + 20, RESUMED)


@contextlib.contextmanager
def writing(two: Members) -> Iterator[Writer]:
    """Rows are written meanwhile. Afterwards each that was acknowledged is there, and there was no long pause."""
    primary = two.primary()
    assert primary is not None
    assert "CREATE TABLE" in primary.sql("DROP TABLE IF EXISTS written; CREATE TABLE written (row bigint PRIMARY KEY)")
    writer = Writer(two, importlib.import_module("pg8000.dbapi"))
    thread = threading.Thread(target=writer.write)
    thread.start()
    try:
        writer.goes_on()
        yield writer
        writer.goes_on()
    finally:
        writer.done.set()
        thread.join(20)
    primary = two.primary()
    assert primary is not None
    lost = set(writer.acknowledged) - set(map(int, primary.sql("SELECT row FROM written").split()))
    assert not lost, f"{len(lost)} of {len(writer.acknowledged)} acknowledged rows are gone, such as {min(lost)}"
    pause = max(after - before for before, after in pairwise(sorted(writer.acknowledged.values())))
    print(f"{len(writer.acknowledged)} rows were acknowledged; the longest pause was {pause:.1f} s")
    assert pause < RESUMED


@pytest.fixture(scope="module")
def two(
    unpacked: Unpacked, api_server: ControlPlane, drivers: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Members]:
    with members(unpacked("patroni"), api_server, tmp_path_factory.mktemp("members")) as found:
        found.all[0].start()
        eventually(found.primary, 60)
        found.all[1].start()
        eventually(found.whole, 60)
        yield found


def test_the_second_member_is_a_copy_that_takes_no_rows(two: Members) -> None:
    first, second = two.all
    assert two.primary() is first
    assert first.sql("SHOW data_checksums") == "on"
    assert first.sql("SELECT ssl FROM pg_stat_ssl s JOIN pg_stat_replication USING (pid)") == "t"
    assert "read-only transaction" in second.sql("CREATE TABLE refused ()")


def test_the_password_of_the_members_opens_no_plain_connection_and_no_table(two: Members) -> None:
    first = two.all[0]
    found = first.sql("SELECT * FROM pg_authid", REPLICATION, SECRET)
    assert "permission denied" in found, found
    assert "password authentication failed" in first.sql("SELECT 1", REPLICATION, "another")


def test_no_acknowledged_row_is_lost_when_each_primary_is_killed(two: Members) -> None:
    for _ in range(2):
        killed = eventually(two.primary)
        with writing(two) as writer:
            killed.kill()
            writer.goes_on()
            assert two.primary() is two.other(killed)
            killed.start()
            # It becomes the other one's copy, with what it has written and nobody has acknowledged taken back.
            eventually(two.whole, 60)


def test_a_primary_that_is_stopped_hands_over_at_once(two: Members) -> None:
    stopped = eventually(two.primary)
    with writing(two) as writer:
        stopped.stop()
        writer.goes_on()
        stopped.start()
        eventually(two.whole, 60)


def test_a_server_that_crashes_alone_goes_on(two: Members) -> None:
    crashed = eventually(two.primary)
    with writing(two) as writer:
        crashed.crash()
        writer.goes_on()
        eventually(two.whole, 60)


def test_a_primary_without_the_api_server_stops_writing_before_another_takes_over(two: Members) -> None:
    cut = eventually(two.primary)
    with writing(two) as writer:
        cut.way.cut()
        other = two.other(cut)
        last: float | None = None
        while other.sql("SELECT pg_is_in_recovery()") != "f":
            if cut.sql("SELECT pg_is_in_recovery()") == "f":
                last = time.monotonic()
        assert last is not None, "it was the primary until its lease had ended"
        assert "read-only transaction" in cut.sql("CREATE TABLE refused ()") or not cut.answers()
        writer.goes_on()
        # It cannot take its label off, but says that it is not ready, so that no Service leads to it.
        eventually(lambda: cut.readiness() == 503)
        cut.way.mend()
        eventually(two.whole, 60)
    assert two.primary() is two.other(cut)
