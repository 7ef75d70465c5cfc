"""The marks behind the catalogue's table: of types and cells that there are, on tests that can show them."""

from __future__ import annotations

from stacks.catalogue import load_catalogue, registered
from tests.stacks.proofs import CELLS, GROUPS, cell, marked, restored, table
from tests.stacks.test_restores import SAVED

# What no test shows, and the page says so. A line that is shown now leaves this list.
NOT_SHOWN: set[tuple[str, str]] = set()


def test_marks_are_of_types_and_cells_that_there_are_and_on_tests_that_run() -> None:
    assert marked()
    for proof in marked():
        place = f"{proof.file.name}::{proof.test}"
        assert proof.test.startswith("test_"), place
        assert proof.type in registered(), place
        assert proof.cells and set(proof.cells) <= CELLS.keys(), place
        assert not proof.groups & {"skip", "xfail"}, place
        assert {GROUPS[name] for name in proof.cells if name in GROUPS} <= proof.groups, place


def test_each_cell_is_shown_or_known_not_to_be() -> None:
    kinds = {name: kind for name, kind in load_catalogue().items() if name in registered()}
    assert {(name, each) for name, kind in kinds.items() for each in CELLS if not cell(kind, each)} == NOT_SHOWN
    assert {name for name, kind in kinds.items() if not restored(kind)} <= set(SAVED)


def test_the_table_links_files_that_there_are() -> None:
    text = table()
    for proof in marked():
        assert proof.link in text and proof.file.is_file()
    assert text.count("\n| [`") == len(load_catalogue())
