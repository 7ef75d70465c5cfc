"""The three places of objects, each with its real server, and a new empty place for every test."""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.postgres_server import PostgresServer, postgres_server
from tests.support.s3_server import S3Server, s3_server
from wecityctl.objects import Limits, Objects, open_objects

PLACES = ("directory", "s3", "postgres")
SERVERS = PLACES[1:]
QUICK = Limits(seconds=1.0, attempts=3, pause=0.02)


@dataclass(frozen=True)
class Place:
    """An empty place for objects, and what its server keeps secret. `through` is its URL behind another port."""

    kind: str
    url: str
    port: int
    through: Callable[[int], str]
    secret: str


@pytest.fixture(scope="session")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """The S3 server, with one bucket."""
    with s3_server(tmp_path_factory.mktemp("s3"), "states") as server:
        yield server


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """The database server."""
    with postgres_server() as server:
        yield server


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No credentials, proxies or settings of whoever runs the tests."""
    for name in [name for name in os.environ if name.startswith(("AWS_", "PG", "PULUMI_"))]:
        monkeypatch.delenv(name)
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "no-config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "no-credentials"))


@pytest.fixture(params=PLACES)
def place(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    """An empty place of each kind."""
    return place_of(request.param, request, tmp_path, monkeypatch)


def place_of(kind: str, request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    """An empty place of this kind."""
    name = f"t{uuid.uuid4().hex[:12]}"
    if kind == "directory":
        url = f"file://{tmp_path}/state"
        return Place(kind, url, 0, lambda _: url, "")
    if kind == "s3":
        server: S3Server = request.getfixturevalue("s3")
        for key, value in server.environment.items():
            monkeypatch.setenv(key, value)
        return Place(
            kind, server.url("states", name), server.port, lambda port: server.url("states", name, port), server.secret
        )
    base: PostgresServer = request.getfixturevalue("postgres")
    return Place(kind, base.url(name), base.port, lambda port: base.url(name, port=port), base.password)


@pytest.fixture
def objects(place: Place) -> Iterator[Objects]:
    """The opened place."""
    opened = open_objects(place.url)
    yield opened
    opened.close()
