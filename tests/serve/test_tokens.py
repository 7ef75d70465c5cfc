"""The file of tokens: what is in it, who may read it, and that changes count at once."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.cli.program import wecityctl
from wecityctl.engine.serve.tokens import Role, TokenFile, add_token, read_tokens, remove_token
from wecityctl.errors import ConfigurationError


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "tokens.json"


def test_only_a_hash_is_kept_and_only_for_its_owner(path: Path) -> None:
    given, token = add_token(path, "ada", Role.ADMIN, ["city.*"], timedelta(days=1))
    text = path.read_text()
    assert given not in text
    assert given.rpartition("_")[2] not in text
    assert path.stat().st_mode & 0o777 == 0o600
    assert read_tokens(path) == (token,)
    assert given not in repr(token)
    path.chmod(0o640)
    with pytest.raises(ConfigurationError, match="open to other users"):
        read_tokens(path)


def test_a_token_is_for_its_stacks_and_its_time(path: Path) -> None:
    _, token = add_token(path, "ci", Role.UPDATE, ["city.tenant.water.*", "city.entry"], timedelta(hours=1))
    assert [token.allows(name) for name in ("city.tenant.water.main", "city.entry", "city.entry2", "city.Entry")] == [
        True,
        True,
        False,
        False,
    ]
    now = datetime.now(UTC)
    assert not token.is_expired(now)
    assert token.is_expired(now + timedelta(hours=1))
    assert [Role.UPDATE.includes(role) for role in Role] == [True, True, False]


def test_changes_of_the_file_count_at_once(path: Path) -> None:
    given, token = add_token(path, "ada", Role.ADMIN)
    tokens = TokenFile(path)
    assert tokens.find(given) == token
    for wrong in ("", "x", given[:-1], given + "0", given.replace("wecity", "other"), f"wecity_{token.id}_", "_" * 9):
        assert tokens.find(wrong) is None, wrong
    other, _ = add_token(path, "uma", Role.UPDATE)
    assert tokens.find(other) is not None
    remove_token(path, "ada")
    assert tokens.find(given) is None
    assert not tokens.holds(token)
    # A file that cannot be used lets nobody in; what runs goes on.
    kept = path.read_bytes()
    path.write_bytes(b"{")
    with pytest.raises(ConfigurationError, match="cannot be used"):
        tokens.find(other)
    assert tokens.holds(read_back(kept, path.with_name("kept"))[0])
    path.write_bytes(kept)
    assert tokens.find(other) is not None


def read_back(data: bytes, path: Path) -> tuple[object, ...]:
    path.touch(0o600)
    path.write_bytes(data)
    return read_tokens(path)


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[]",
        '{"version": 2, "tokens": []}',
        '{"version": 1}',
        '{"version": 1, "tokens": [{}]}',
        '{"version": 1, "tokens": [{"id": 1, "name": "a", "role": "admin", "stacks": [], "expires": "", "created": "",'
        ' "hash": ""}]}',
        '{"version": 1, "tokens": [{"id": "1", "name": "a", "role": "king", "stacks": [], "expires": "", "created": "",'
        ' "hash": ""}]}',
        '{"version": 1, "tokens": [{"id": "1", "name": "a", "role": "admin", "stacks": [], "expires": "2026-01-01",'
        ' "created": "", "hash": ""}]}',
        "[" * 100_000,
    ],
)
def test_a_damaged_file_is_told(path: Path, content: str) -> None:
    path.touch(0o600)
    path.write_text(content)
    with pytest.raises(ConfigurationError, match="cannot be used"):
        read_tokens(path)


@pytest.mark.program
def test_tokens_are_given_out_and_taken_back_on_the_command_line(path: Path) -> None:
    added = wecityctl("state", "token", "add", "ci", "--role", "update", "--stacks", "a.*", "--expires", "90d",
                      "--tokens", path)  # fmt: skip
    assert added.returncode == 0, added.stderr
    assert TokenFile(path).find(added.stdout.strip()) is not None
    assert added.stdout.strip() not in added.stderr
    again = wecityctl("state", "token", "add", "ci", "--role", "admin", "--tokens", path)
    assert (again.returncode, "has a token already" in again.stderr) == (2, True)
    for wrong in (["--expires", "soon"], ["--stacks", "a b"], ["--role", "king"]):
        refused = wecityctl("state", "token", "add", "other", "--role", "update", *wrong, "--tokens", path)
        assert refused.returncode == 2, wrong
    listed = json.loads(wecityctl("state", "token", "list", "-o", "json", "--tokens", path).stdout)
    (item,) = listed["tokens"]
    assert (item["name"], item["role"], item["stacks"], "hash" in item) == ("ci", "update", ["a.*"], False)
    assert wecityctl("state", "token", "remove", "ci", "--tokens", path).returncode == 0
    assert wecityctl("state", "token", "remove", "ci", "--tokens", path).returncode == 2
