"""The cache on disk: what counts as installed, what is swept, what is replaced, who may write."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from tests.toolchain.helpers import PLATFORM, VERSION, program, put, tiny
from wecityctl.toolchain import receipt as receipts
from wecityctl.toolchain.model import PartState, SourceName
from wecityctl.toolchain.receipt import BinaryRecord, Receipt
from wecityctl.toolchain.store import Store

PART = tiny()


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "parts", PLATFORM)


def install(store: Store, content: bytes) -> None:
    with store.lock(PART, lambda: None), store.staging(PART) as staging:
        path = put(staging / "bin" / "tiny", content, 0o600)
        records = {"tiny": BinaryRecord.of(path)}
        receipt = Receipt("tiny", VERSION, str(PLATFORM), SourceName.BUILD, "test", receipts.now(), records)
        store.place(PART, staging, receipt)


def test_a_placed_part_is_whole_and_executable(store: Store) -> None:
    assert store.inspect(PART)[0] is PartState.MISSING
    install(store, program())
    state, found, problem = store.inspect(PART, hashed=True)
    assert (state, problem) == (PartState.OK, "")
    assert found is not None and found.source is SourceName.BUILD
    assert subprocess.run([store.binary(PART, "tiny")], capture_output=True, check=True).stdout


def test_without_a_receipt_it_is_half_built(store: Store) -> None:
    install(store, program())
    (store.directory(PART) / "receipt.json").unlink()
    assert store.inspect(PART)[0] is PartState.CORRUPT
    assert store.receipt(PART) is None


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"schema": 1}', '{"schema": 9}'])
def test_a_receipt_that_cannot_be_understood_is_none(store: Store, text: str) -> None:
    install(store, program())
    (store.directory(PART) / "receipt.json").write_text(text)
    assert store.inspect(PART)[0] is PartState.CORRUPT


def test_another_size_is_seen_at_once_and_another_content_by_digest(store: Store) -> None:
    install(store, program(note="aaa"))
    put(store.binary(PART, "tiny"), program(note="bbb"))
    assert store.inspect(PART)[0] is PartState.OK
    assert store.inspect(PART, hashed=True)[0] is PartState.CORRUPT
    put(store.binary(PART, "tiny"), program(note="longer"))
    assert store.inspect(PART)[0] is PartState.CORRUPT


def test_a_part_of_another_platform_is_not_used(store: Store) -> None:
    install(store, program())
    other = Store(store.root, type(PLATFORM)("linux", "arm64"))
    assert other.receipt(PART) is None


def test_placing_replaces_what_was_there(store: Store) -> None:
    install(store, program(note="old"))
    install(store, program(note="new"))
    assert store.binary(PART, "tiny").read_bytes() == program(note="new")
    assert [each.name for each in (store.root / "tiny").iterdir()] == [PART.version]


def test_the_leavings_of_the_dead_are_removed(store: Store) -> None:
    leftover = store.root / "tiny" / f".{PART.version}.dead"
    put(leftover / "bin" / "tiny", program())
    install(store, program())
    assert not leftover.exists()


def test_a_failed_staging_leaves_nothing(store: Store) -> None:
    with pytest.raises(ZeroDivisionError), store.lock(PART, lambda: None), store.staging(PART) as staging:
        put(staging / "bin" / "tiny", program())
        raise ZeroDivisionError
    assert list((store.root / "tiny").iterdir()) == []


def test_a_second_process_waits_and_a_dead_one_holds_nothing(store: Store) -> None:
    holder = (
        "import sys, time, pathlib\n"
        "from wecityctl.toolchain.store import Store\n"
        "from wecityctl.toolchain.model import Platform\n"
        "from tests.toolchain.helpers import tiny\n"
        "with Store(pathlib.Path(sys.argv[1]), Platform('linux', 'amd64')).lock(tiny(), lambda: None):\n"
        "    print('held', flush=True)\n"
        "    time.sleep(60)\n"
    )
    with subprocess.Popen([sys.executable, "-c", holder, store.root], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stdout.readline() == b"held\n"
        killer = threading.Timer(0.6, process.kill)
        killer.start()
        waits: list[float] = []
        began = time.monotonic()
        with store.lock(PART, lambda: waits.append(time.monotonic())):
            assert time.monotonic() - began >= 0.5
        assert waits
        killer.join()
