"""Types that keep data are restored by a proof of what is here now, and every type says how."""

from __future__ import annotations

from pathlib import Path

import pytest

from stacks.catalogue import registered
from stacks.platforms import restores
from stacks.platforms.backups import scripts_of
from tests.stacks.proofs import ELSEWHERE

SAVED = [name for name, item in registered().items() if item.type.backup]


def test_what_keeps_data_is_backed_up() -> None:
    keeping = {name for name, item in registered().items() if item.type.stores_data}
    assert keeping - ELSEWHERE.keys() == set(SAVED)


@pytest.mark.parametrize("name", SAVED)
def test_a_restore_was_proved_of_what_is_here(name: str) -> None:
    scripts = scripts_of(registered()[name].type)
    assert scripts is not None and scripts.dump and scripts.restore
    assert restores.proof_of(name) is not None, (
        f"backing up {name} has changed since its restore was proved: run "
        f"tests/e2e/operations/test_what_was_lost.py as root, and commit {restores.RECORDS}"
    )


def test_a_record_is_of_one_digest(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(restores, "RECORDS", tmp_path / "restores.json")
    assert restores.proof_of("postgresql") is None
    restores.record("postgresql", "2026-11-28", "somewhere")
    found = restores.proof_of("postgresql")
    assert found is not None and (found.date, found.how) == ("2026-11-28", "somewhere")
    text = restores.RECORDS.read_text().replace(found.digest, "0" * 16)
    restores.RECORDS.write_text(text)
    assert restores.proof_of("postgresql") is None
