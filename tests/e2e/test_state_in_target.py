"""The states of a city in the target of its backups, by command: to it, and back on a machine with nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.files import SIMULATED, CityFiles, hamlet
from tests.e2e.machine import Machine, machine
from tests.support.pki import Authority
from tests.support.s3_server import S3Server, s3_server

pytestmark = [pytest.mark.engine, pytest.mark.timeout(400)]

PASSPHRASE = "the passphrase of both machines"


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority()


@pytest.fixture(scope="module")
def server(authority: Authority, tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    pair = authority.server(addresses=("127.0.0.1",))
    with s3_server(tmp_path_factory.mktemp("target"), "backups", tls=pair) as made:
        yield made


@pytest.fixture(scope="module")
def home() -> Iterator[Machine]:
    with machine(passphrase=PASSPHRASE) as made:
        yield made


@pytest.fixture(scope="module")
def city(server: S3Server, tmp_path_factory: pytest.TempPathFactory) -> CityFiles:
    files = hamlet(tmp_path_factory.mktemp("files") / "luoshui", "luoshui", SIMULATED)
    backup = {
        "target": "s3://backups/hunan",
        "region": "cn-hubei",
        "endpoint": f"https://127.0.0.1:{server.port}",
        "addresses": ["127.0.0.1/32"],
        "credentials": "backup-keys",
        "password": "backup-password",
        "authority": "backup-authority",
    }
    next(files.documents("City"))["spec"]["compliance"] = {"backup": backup}
    return files.save()


def test_the_secret_store_is_back_on_another_machine(
    home: Machine, city: CityFiles, server: S3Server, authority: Authority, tmp_path: Path
) -> None:
    nothing = home.run("state", "backup", city, "--to-target", code=2)
    assert "there are no states of luoshui" in nothing.err
    keys = f"{server.access}:{server.secret}"
    values = {"backup-keys": keys, "backup-password": "of the tests", "backup-authority": authority.cert.decode()}
    for name, value in values.items():
        home.run("secrets", "set", city, name, stdin=value, timeout=120)
    # The keys and the certificates of the target are the city's own.
    done = home.run("state", "backup", city, "--to-target", "-o", "json").json()
    assert [item["stack"] for item in done["states"]] == ["luoshui.secrets"] and not done["removed"]
    again = home.run("state", "backup", city, "--to-target")
    assert "read back" in again.err and "1 older copy removed" in again.err
    (file,) = [item for item in (server.buckets / "backups/hunan/luoshui/_state").iterdir() if item.is_file()]
    assert b"luoshui.secrets" not in file.read_bytes()

    with machine(passphrase=PASSPHRASE) as other:
        missing = other.run("state", "restore", city, "--from-target", "--dry-run", code=3)
        assert "AWS_ACCESS_KEY_ID" in missing.err
        bundle = tmp_path / "authority.pem"
        bundle.write_bytes(authority.cert)
        access = {**server.environment, "AWS_CA_BUNDLE": str(bundle)}
        shown = other.run("state", "restore", city, "--from-target", "--dry-run", env=access)
        assert "luoshui.secrets: nothing → " in shown.out and "the states are those of 20" in shown.err
        assert not (server.buckets / "backups/hunan/luoshui/_state" / "partial").exists()
        for wrong in (("--from-target", "--file", "x.tar.gz"), (), ("--file", "x.tar.gz", "--at", done["at"])):
            assert "one of --file and --from-target" in other.run("state", "restore", city, *wrong, code=2).err
        other.run("state", "restore", city, "--from-target", "--yes", env=access)
        here, there = (item.run("secrets", "list", city, code=None).out for item in (home, other))
        assert here == there and "backup/backup-keys" in there
        # Now it needs nothing of the environment.
        other.run("state", "backup", city, "--to-target")
    with machine(passphrase="another passphrase") as stranger:
        refused = stranger.run("state", "restore", city, "--from-target", "--yes", code=3, env=access)
        assert "the passphrase does not open the copy of the states" in refused.err
