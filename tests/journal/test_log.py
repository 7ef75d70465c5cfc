"""Journals on disk: cut off at every byte, damaged, of others, and on a disk that is full."""

from __future__ import annotations

import json
import resource
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from wecityctl.errors import DeploymentError
from wecityctl.journal.file import FileLines
from wecityctl.journal.log import Header, Journal, Writer, conclude, read_journal

HEADER = Header("city.base.main", "u-1", "a" * 64, "v3.259.0", "2026-01-01T00:00:00Z")
BATCHES = (
    [{"kind": 0, "operationID": 1}],
    [{"kind": 1, "operationID": 1, "state": {"urn": "u", "text": "汉\n"}}, {"kind": 0}],
)
ENTRIES = tuple(entry for batch in BATCHES for entry in batch)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journals" / "city.base.main.jsonl"


def written(path: Path) -> Journal:
    journal = Writer(FileLines(path), HEADER)
    for batch in BATCHES:
        journal.append(batch)
    journal.close()
    found = read_journal(FileLines(path), HEADER.stack)
    assert found is not None
    return found


def test_what_was_acknowledged_is_read_again(path: Path) -> None:
    assert written(path) == Journal(HEADER, ENTRIES)
    assert path.stat().st_mode & 0o777 == 0o600
    assert read_journal(FileLines(path.with_name("none.jsonl")), "none") is None


def test_cut_off_at_any_byte_whole_batches_are_there(path: Path) -> None:
    written(path)
    whole = path.read_bytes()
    ends = [number + 1 for number, byte in enumerate(whole) if byte == 10]
    for length in range(len(whole) + 1):
        path.write_bytes(whole[:length])
        found = read_journal(FileLines(path), HEADER.stack)
        lines = sum(end <= length for end in ends)
        if not lines:
            assert found is None
            continue
        batches = BATCHES[: lines - 1]
        assert found == Journal(HEADER, tuple(e for batch in batches for e in batch))


def test_any_byte_that_is_another_is_told_or_makes_no_difference(path: Path) -> None:
    before = written(path)
    whole = bytearray(path.read_bytes())
    last = whole.rindex(b"\n", 0, len(whole) - 1)
    for place in range(last):
        changed = bytearray(whole)
        changed[place] ^= 1
        path.write_bytes(changed)
        try:
            found = read_journal(FileLines(path), HEADER.stack)
        except DeploymentError as error:
            assert str(path) in error.details
        else:
            # The first line has no checksum: what names the run is compared by whoever replays it.
            assert found is not None
            assert replace(found, header=HEADER) == before


def test_a_state_that_is_about_to_be_put_in_its_place_is_known(path: Path) -> None:
    journal = Writer(FileLines(path), HEADER)
    journal.append(BATCHES[0])
    journal.close()
    with path.open("ab") as stream:
        stream.write(b'{"batch":2,')
    conclude(FileLines(path), "b" * 64)
    assert read_journal(FileLines(path), HEADER.stack) == Journal(HEADER, tuple(BATCHES[0]), "b" * 64)


def test_a_journal_of_the_first_format_is_read(path: Path) -> None:
    path.parent.mkdir()
    first = {name: value for name, value in asdict(HEADER).items() if name != "about"} | {"format": 1}
    path.write_text(f"{json.dumps(first)}\n")
    found = read_journal(FileLines(path), HEADER.stack)
    assert found is not None and (found.header.update, found.header.about) == ("u-1", {})


def test_a_journal_is_gone_on_with_by_another_writer(path: Path) -> None:
    writer = Writer(FileLines(path), HEADER)
    writer.append([{"n": 1}])
    with path.open("ab") as stream:
        stream.write(b'{"batch":2,"che')
    resumed = Writer.resumed(FileLines(path))
    resumed.append([{"n": 2}])
    resumed.close()
    found = read_journal(FileLines(path), HEADER.stack)
    assert found is not None and [entry["n"] for entry in found.entries] == [1, 2]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (json.dumps({"format": 3}), "format 3, not 1 or 2"),
        ("[]", "no object"),
        ("{", ":1: "),
        (json.dumps({"format": 1, "stack": "x"}), "no beginning"),
    ],
)
def test_a_beginning_that_is_not_ours_is_told(path: Path, line: str, words: str) -> None:
    path.parent.mkdir()
    path.write_text(f"{line}\n")
    with pytest.raises(DeploymentError) as refused:
        read_journal(FileLines(path), HEADER.stack)
    assert words in refused.value.details


def test_a_journal_of_another_stack_is_not_taken(path: Path) -> None:
    written(path)
    with pytest.raises(DeploymentError, match="another stack's"):
        read_journal(FileLines(path), "city.entry")


def test_where_a_journal_is_none_is_begun(path: Path) -> None:
    written(path)
    with pytest.raises(DeploymentError, match="another run's journal"):
        Writer(FileLines(path), HEADER)
    assert read_journal(FileLines(path), HEADER.stack) is not None


@contextmanager
def room_for(size: int) -> Iterator[None]:
    """No file of this process may be longer: what a full disk does to a write."""
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, before)


def test_without_room_a_batch_is_refused_and_those_before_it_stay(path: Path) -> None:
    journal = Writer(FileLines(path), HEADER)
    journal.append(BATCHES[0])
    with room_for(path.stat().st_size + 40), pytest.raises(DeploymentError, match="the disk is full"):
        journal.append(BATCHES[1])
    assert read_journal(FileLines(path), HEADER.stack) == Journal(HEADER, tuple(BATCHES[0]))
    # With room again the run goes on.
    journal.append(BATCHES[1])
    journal.close()
    found = read_journal(FileLines(path), HEADER.stack)
    assert found is not None
    assert found.entries == ENTRIES
