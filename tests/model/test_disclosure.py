"""Texts, values and command lines that give a secret away, and those that only look alike."""

from __future__ import annotations

import pytest

from wecityctl.model.disclosure import holds_a_secret, names_a_secret, value_holds_a_secret, words_hold_a_secret


@pytest.mark.parametrize(
    "text",
    [
        "Server=db;Password=abc;",
        "Password=abc",
        "server=x; pwd = 'abc'",
        "host=db user=app password=abc",
        "postgres 'host=db dbname=x password=h'",
        "postgresql://app:hunter2@db/app",
        "-----BEGIN EC PRIVATE KEY-----",
    ],
)
def test_a_secret_in_a_text(text: str) -> None:
    assert holds_a_secret(text)


@pytest.mark.parametrize(
    "text",
    [
        "Server=db;Password=$(P)",
        "cd /x; pwd=$(pwd)",
        "export A=1;PWD=/x",
        "; password=%s",
        "password_file=/run/x",
        "host=db user=app password=$PW",
        "https://user@host:443/x",
        '{"password": "Passwort"}',
    ],
)
def test_no_secret_in_a_text(text: str) -> None:
    assert not holds_a_secret(text)


def test_json_counts_in_a_value_alone() -> None:
    for value in ('{"password":"x"}', '{"db": {"api_key" : "k"}}', '{"db-password":"x"}'):
        assert value_holds_a_secret(value)
        assert not holds_a_secret(value)
    for value in ('{"password":"$(X)"}', '{"passwordFile":"x"}', '{"tokenType":"b"}', '{"password":""}'):
        assert not value_holds_a_secret(value)


@pytest.mark.parametrize("line", ["--password=x", "--db-password=x", "--password x", "a --api-key k b", "--db.token=x"])
def test_an_option_with_a_secret(line: str) -> None:
    assert words_hold_a_secret(line.split())


@pytest.mark.parametrize(
    "line",
    [
        "--password-file=/x",
        "--password=$(P)",
        "--password $(P)",
        "--use-token=true",
        "--password --verbose",
        "--token /run/x",
        "--password=/run/x",
        "--secretary=x",
        "-p",
    ],
)
def test_an_option_without_one(line: str) -> None:
    assert not words_hold_a_secret(line.split())


def test_names() -> None:
    assert names_a_secret("DB_PASSWORD", "x")
    assert names_a_secret("spring.datasource.password", "x")
    assert not names_a_secret("USE_TOKEN", "True")
    assert not names_a_secret("PASSWORD_FILE", "/run/x")
