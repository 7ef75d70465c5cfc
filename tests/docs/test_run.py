"""Every command that the documentation shows really runs, in order, and prints what the documentation says.

A document is run up to twice: its plain blocks alone; and with the others, on a real node where it has blocks for one
and we are root, on simulated nodes otherwise. `make up`, `make test` and `make bench` are not run here: this test is
itself run by `make test`, and the others would need the machine for themselves. What can be held against the Makefile
is, in `test_complete`.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.docs.blocks import GENERATED, ROOT, Block, blocks_of, documents
from tests.docs.shell import Shell, home

NEEDS = ("", "cluster", "node")
SHARED = "xingcheng"


def _blocks(document: Path) -> list[Block]:
    return [block for block in blocks_of(document) if block.runs or block.file]


def _cases(need: str) -> list[object]:
    """The documents that have a block with this need, a name for each."""
    found = [
        document
        for document in documents()
        if document not in GENERATED and any(block.runs and block.need == need for block in blocks_of(document))
    ]
    if need == "cluster" and os.geteuid() == 0:
        # Where a real node can be had, a document that is for one is run there, whole, and not here in part.
        found = [document for document in found if all(block.need != "node" for block in blocks_of(document))]
    # Who removes a tenant of the shared city goes last, so that nobody has to wait for it to come back.
    found.sort(key=lambda document: document.name == "remove-a-tenant.md")
    return [pytest.param(document, id=document.relative_to(ROOT).as_posix()) for document in found]


@pytest.fixture(scope="module")
def short() -> Iterator[Path]:
    """A directory with a short name: sockets below it must fit their 108 bytes."""
    directory = Path(tempfile.mkdtemp(prefix="wd-"))
    yield directory
    shutil.rmtree(directory)


@pytest.fixture(scope="module")
def shared_home(short: Path) -> Iterator[Path]:
    """One home for all documents on simulated nodes, so that they share one city."""
    with home(short / "s") as directory:
        yield directory


def test_a_block_that_shows_something_else_is_noticed(tmp_path: Path) -> None:
    """The test itself: what it compares, and what it lets pass."""
    document = tmp_path / "x.md"
    document.write_text("```console\n$ echo one  two; echo three; echo four\none two\n...\nfo...\n```\n")
    (block,) = blocks_of(document)
    (tmp_path / ".shell").mkdir()
    Shell(tmp_path, tmp_path).follow(block)
    for shown in ("one\n...", "one two\nfour", "one two\n...\nthree", "one two\n...\nfour\nfive"):
        document.write_text(f"```console\n$ echo one  two; echo three; echo four\n{shown}\n```\n")
        (block,) = blocks_of(document)
        with pytest.raises(AssertionError):
            Shell(tmp_path, tmp_path).follow(Block(ROOT / "README.md", 1, "console", block.text))
    with pytest.raises(AssertionError):
        Shell(tmp_path, tmp_path).follow(Block(ROOT / "README.md", 1, "bash", "false | cat\n"))


@pytest.mark.program
@pytest.mark.parametrize("document", _cases(""))
def test_plain_blocks(document: Path, tmp_path: Path) -> None:
    shell = Shell(tmp_path / "work", tmp_path / "home")
    shell.home.mkdir()
    shell.prepare()
    for block in _blocks(document):
        if not block.need:
            shell.follow(block)


@pytest.mark.cluster
@pytest.mark.parametrize("document", _cases("cluster"))
def test_blocks_on_simulated_nodes(document: Path, tmp_path: Path, shared_home: Path) -> None:
    shell = Shell(tmp_path / "work", shared_home)
    shell.prepare()
    blocks = _blocks(document)
    if any(SHARED in block.text for block in blocks if block.need == "cluster"):
        # Documents speak of a city that is up; only the first of them has to wait for it.
        code, output = shell.run(f"wecityctl up examples/{SHARED} --confirm={SHARED}")
        assert code == 0, output[-4000:]
    for block in blocks:
        if block.need != "node":
            shell.follow(block)


@pytest.mark.node
@pytest.mark.skipif(os.geteuid() != 0, reason="a real node needs root")
@pytest.mark.parametrize("document", _cases("node"))
def test_blocks_on_a_real_node(document: Path, tmp_path: Path, short: Path) -> None:
    with home(short / "r") as directory:
        shell = Shell(tmp_path / "work", directory, simulated=False)
        shell.prepare()
        for block in _blocks(document):
            shell.follow(block)
    shutil.rmtree(directory)
