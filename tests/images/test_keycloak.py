"""Keycloak's image: built twice to the same bytes, and started as its user over PostgreSQL and a read-only root."""

from __future__ import annotations

import json
import re
import time
import urllib.parse
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest

from stacks.platforms.application.identity import TYPE
from tests.images.rootfs import RootFilesystem, free_port, needs_root, wait_for
from tests.images.test_running import POSTGRES, fetch, postgresql
from wecityctl import oci
from wecityctl.oci.layout import read_layers

Unpacked = Callable[[str], RootFilesystem]
pytestmark = [pytest.mark.build, pytest.mark.by_digest, pytest.mark.timeout(500)]


def post(url: str, **fields: str) -> dict[str, object]:
    with urllib.request.urlopen(url, urllib.parse.urlencode(fields).encode(), timeout=30) as answer:
        return dict(json.load(answer))


@needs_root
@pytest.mark.proves("identity", "built")
def test_keycloak_starts_on_postgresql(
    unpacked: Unpacked, tmp_path_factory: pytest.TempPathFactory, record_property: Callable[[str, object], None]
) -> None:
    data = tmp_path_factory.mktemp("keycloak-database")
    for parent in (data, *data.parents[:3]):
        parent.chmod(parent.stat().st_mode | 0o055)
    database_port, port, management = free_port(), free_port(), free_port()
    database, image = unpacked("postgresql"), unpacked("identity")
    settings = {
        "KC_DB_URL": f"jdbc:postgresql://127.0.0.1:{database_port}/keycloak",
        "KC_DB_USERNAME": "keycloak",
        "KC_DB_PASSWORD": "keycloakpassword",
        "KC_HTTP_ENABLED": "true",
        "KC_HTTP_HOST": "127.0.0.1",
        "KC_HTTP_PORT": str(port),
        "KC_HTTP_MANAGEMENT_PORT": str(management),
        "KC_HOSTNAME": f"http://127.0.0.1:{port}/auth",
        "KC_CACHE": "local",
        "KC_BOOTSTRAP_ADMIN_USERNAME": "admin",
        "KC_BOOTSTRAP_ADMIN_PASSWORD": "adminpassword",
        "JAVA_OPTS_KC_HEAP": "-Xms64m -Xmx320m",
        # A server that lives for a minute gains nothing from Java's second compiler, which takes half of its time.
        "JAVA_OPTS_APPEND": "-XX:TieredStopAtLevel=1",
    }
    with postgresql(database, data, database_port):
        for statement in ("CREATE ROLE keycloak LOGIN PASSWORD 'keycloakpassword'", "CREATE DATABASE keycloak OWNER keycloak"):  # fmt: skip  # noqa: E501
            psql = [f"{POSTGRES}/psql", "--host=127.0.0.1", f"--port={database_port}", "--username=postgres"]
            done = database.run(*psql, "-c", statement, PGPASSWORD="adminpassword")
            assert done.returncode == 0, done.stderr
        began = time.monotonic()
        with image.running("/opt/keycloak/bin/kc.sh", "start", "--optimized", **settings) as server:
            health = f"http://127.0.0.1:{management}/auth/health/ready"
            wait_for("Keycloak", lambda: fetch(health)[0] == 200 or None, server, 300)
            record_property("measured", f"Keycloak ready after {time.monotonic() - began:.0f} s")
            token = post(
                f"http://127.0.0.1:{port}/auth/realms/master/protocol/openid-connect/token",
                grant_type="password", client_id="admin-cli", username="admin", password="adminpassword",
            )  # fmt: skip
            assert token["token_type"] == "Bearer"
            told = fetch(f"http://127.0.0.1:{management}/auth/metrics")[1]
            names = set(re.findall(r"^(\w+)[ {]", told, re.MULTILINE))
            asked = " ".join(f"{panel.query} {panel.limit}" for panel in TYPE.dashboard)
            assert set(re.findall(r"(?:http|jvm|agroal)_\w+", asked)) <= names


def test_licences_of_maven_artefacts_are_kept(built: Callable[..., dict[str, oci.BuiltImage]], tmp_path: Path) -> None:
    _, entries = read_layers(built("identity")["identity"].archive, tmp_path)
    (artefact,) = json.loads(entries["usr/share/doc/identity/artefacts.json"].read())["maven"]
    assert artefact["artifact"].startswith("org.keycloak:keycloak-quarkus-dist:")
    assert artefact["licence"] == "Apache License, Version 2.0"
    assert "opt/keycloak/LICENSE.txt" in entries
    assert "usr/share/doc/openjdk-17-jre-headless/copyright" in entries
