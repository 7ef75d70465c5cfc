"""Texts, files, values and command lines that give a secret away, and those that only look alike.

Files are in `disclosure/secret` and `disclosure/harmless`; the real API server is asked about them, too.
"""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from wecityctl.model.disclosure import (
    file_holds_a_secret,
    holds_a_secret,
    names_a_secret,
    value_holds_a_secret,
    words_hold_a_secret,
)

FILES = sorted(path for path in Path(__file__).with_name("disclosure").glob("*/*") if path.is_file())
# Put together here, so that nobody who looks for lost keys finds them in this file.
TOKENS = (
    "AKIA" + "0123456789ABCDEF",
    "ghp" + "_" + "a1B2" * 9,
    "eyJhbGciOiJIUzI1NiJ9" + ".eyJzdWIiOiJhcHAifQ" + ".SflKxwRJSMe",
)


@pytest.mark.parametrize(
    "text",
    [
        "Server=db;Password=abc;",
        "Password=abc",
        "server=x; pwd = 'abc'",
        "host=db user=app password=abc",
        "postgres 'host=db dbname=x password=h'",
        "postgresql://app:hunter2@db/app",
        "mysql://app:%40bc@db/app",
        "-----BEGIN EC PRIVATE KEY-----",
        "AccountName=a;AccountKey=abc=;",
        "Endpoint=sb://x/;SharedAccessKey=abc=",
        "https://sms.example/send?password=abc&to=1",
        "jdbc:postgresql://db/app?user=a&sslpassword=abc",
        "Authorization: Bearer abc12345",
        "Authorization: Basic YXBwOmh1bnRlcjI=",
        *TOKENS,
    ],
)
def test_a_secret_in_a_text(text: str) -> None:
    assert holds_a_secret(text)


@pytest.mark.parametrize(
    "text",
    [
        "Server=db;Password=$(P)",
        "Server=db;Password=;",
        "cd /x; pwd=$(pwd)",
        "export A=1;PWD=/x",
        "; password=%s",
        "password_file=/run/x",
        "host=db user=app password=$PW",
        "connect(host=host, user=user, password=password)",
        "https://user@host:443/x",
        "postgresql://app:$(DB_PASSWORD)@db/app",
        "https://x.example/?password=&token=${TOKEN}",
        "Authorization: Basic authentication of RFC 7617",
        "Authorization: Bearer $TOKEN",
        '{"password": "Passwort"}',
    ],
)
def test_no_secret_in_a_text(text: str) -> None:
    assert not holds_a_secret(text)


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_a_file(path: Path) -> None:
    assert file_holds_a_secret(path.name, path.read_text()) == (path.parent.name == "secret")


@pytest.mark.parametrize(
    "text",
    [
        "authorization" + " " * 50_000,
        "a-" * 25_000 + "password",
        "_" * 50_000 + "=",
        '"' + "a." * 25_000 + '":',
        "host=a " + "b=c " * 10_000,
        ("db.password=${P}, " * 3_000) + "\n",
        "?" + "pass" * 10_000,
    ],
    ids=range(7),
)
def test_no_text_takes_long(text: str) -> None:
    """Patterns that try every way to read a text would take hours, and this no noticeable time."""
    begun = time.process_time()
    assert not value_holds_a_secret(text)
    assert not file_holds_a_secret("de" + "-a_a" * 60 + ".conf", text)
    assert not names_a_secret("a" * 50_000, text)
    assert time.process_time() - begun < 5


@pytest.mark.parametrize(
    "value",
    [
        '{"password":"x"}',
        '{"db": {"api_key" : "k"}}',
        '{"db-password":"x"}',
        "PGPASSWORD=abc psql",
        "export X_PASSWORD=abc; run",
        "sh -c 'MYSQL_PWD=abc mysql'",
        "DB_PASS=abc",
        "spring.datasource.password=abc",
        "a: 1\npassword: abc",
        'curl -H "Authorization: Bearer abc"',
    ],
)
def test_a_secret_in_a_value(value: str) -> None:
    assert value_holds_a_secret(value)


@pytest.mark.parametrize(
    "value",
    [
        '{"password":"$(X)"}',
        '{"passwordFile":"x"}',
        '{"tokenType":"b"}',
        '{"password":""}',
        '{"use_token":"true"}',
        "PASSWORD=$(cat /run/x) run",
        'PASSWORD="$1"; TOKEN=`cat /x`',
        "PASSWORD=; run",
        "USE_TOKEN=true run",
        "password: ${DB}",
        "token=<token>",
        "read -r PASSWORD; echo",
        "Password: required",
    ],
)
def test_no_secret_in_a_value(value: str) -> None:
    assert not value_holds_a_secret(value)


@pytest.mark.parametrize(
    "line",
    ["--password=x", "--db-password=x", "--password x", "a --api-key k b", "--db.token=x", "--smtp-pass=x", "--pass x"],
)
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
        "--bypass=x",
        "-p",
    ],
)
def test_an_option_without_one(line: str) -> None:
    assert not words_hold_a_secret(line.split())


@pytest.mark.parametrize(
    "name", ["DB_PASSWORD", "PGPASSWORD", "MYSQL_PWD", "DB_PASS", "clientSecret", "spring.datasource.password"]
)
def test_names(name: str) -> None:
    assert names_a_secret(name, "changeme")
    for value in (
        "",
        "True",
        "$(OTHER)",
        "${OTHER}",
        "{{ other }}",
        "<other>",
        "/run/secrets/db",
        "https://x.example/",
    ):
        assert not names_a_secret(name, value), value


@pytest.mark.parametrize("name", ["PASSWORD_FILE", "BYPASS", "PWD", "OLDPWD", "TOKEN_URL", "SECRETARY"])
def test_names_of_no_secret(name: str) -> None:
    assert not names_a_secret(name, "x")
