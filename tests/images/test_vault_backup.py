"""The vault's backups with the real server: taken by an account that may do nothing else, restored over a new vault."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from stacks.passwords import sha256
from stacks.platforms.operations.vault.access import BACKUP
from stacks.platforms.operations.vault.backup import SCRIPTS
from stacks.platforms.operations.vault.deprovision import INVENTORY
from stacks.platforms.operations.vault.rotation import ROTATE
from tests.images.rootfs import RootFilesystem, needs_root
from tests.images.test_backup import World, with_tools
from tests.images.test_vault import ONE, TWO, Vault
from tests.support.s3_server import s3_server

pytestmark = [pytest.mark.build, pytest.mark.by_digest, needs_root, pytest.mark.timeout(500)]


def made(image: RootFilesystem, place: Path, *, like: Vault | None = None) -> Vault:
    """An empty vault; with the seal of another one, if that is given."""
    place.mkdir()
    place.chmod(0o755)
    vault = Vault(image, place)
    vault.prepare()
    if like is not None:
        (place / "key").write_text((like.place / "key").read_text())
    return vault


def world_of(vault: Vault, world: World) -> World:
    """The same target, with this vault as the server."""
    found = World(vault.image, vault.port, world.s3, world.prefix)
    found.settings |= {"CAPABILITY": "vault", "ADMIN_PASSWORD": vault.password}
    return found


def restore(vault: Vault, world: World, replace: str = "no", previous: str = "") -> subprocess.CompletedProcess[str]:
    there = world_of(vault, world)
    (snapshot,) = there.snapshots()
    values = {"SNAPSHOT": snapshot.id, "SOURCE": snapshot.path, "ACCOUNT": snapshot.account, "OWNER": "-"}
    return there.task(
        "restore", **values, REPLACE=replace, RESTORE=SCRIPTS.restore, PREVIOUS_PASSWORDS=previous, ATOMIC="yes"
    )


def read(vault: Vault) -> object:
    answer = vault.call("GET", f"apps/{ONE}/data/a", token=vault.sign_in(ONE, "secret-of-one"))
    return answer[1]["data"]["data"] if answer[0] == 200 else answer


def test_a_vault_comes_back_over_an_empty_one_with_the_same_seal(
    unpacked: Callable[[str], RootFilesystem], tmp_path_factory: pytest.TempPathFactory
) -> None:
    image, root = unpacked("vault"), tmp_path_factory.mktemp("vaults")
    with_tools(image, unpacked("backup"))
    for parent in (root, *root.parents[:3]):
        parent.chmod(parent.stat().st_mode | 0o055)
    first = made(image, root / "first")
    with s3_server(tmp_path_factory.mktemp("target"), "backups") as s3:
        world = World(image, first.port, s3, "whole/vault")
        with first.running():
            first.run(ROTATE, PREVIOUS_PASSWORDS="")
            first.provision(ONE, "secret-of-one")
            token = first.sign_in(ONE, "secret-of-one")
            assert first.call("POST", f"apps/{ONE}/data/a", {"data": {"k": "健康"}}, token)[0] == 200
            first.provision(TWO, "secret-of-two")
            password = sha256(f"{BACKUP}:{first.password}")
            there = world_of(first, world)
            there.settings["ADMIN_PASSWORD"] = password
            scripts = {"INVENTORY": SCRIPTS.inventory, "DUMP": SCRIPTS.dump}
            done = there.task("backup", **scripts)
            assert done.returncode == 0 and "wecity saved whole - " in done.stdout, done
            assert there.task("verify").returncode == 0

            # Whoever has the password of the backups takes snapshots and does nothing else.
            status, answer = first.call("POST", f"auth/userpass/login/{BACKUP}", {"password": password})
            assert status == 200
            token = answer["auth"]["client_token"]
            refused = {
                "an entry": first.call("GET", f"apps/{ONE}/data/a", token=token),
                "the stores": first.call("GET", "sys/mounts", token=token),
                "another snapshot in its place": first.call("POST", "sys/storage/raft/snapshot", {}, token),
                "by force": first.call("POST", "sys/storage/raft/snapshot-force", {}, token),
                "a policy": first.call("POST", f"sys/policies/acl/{BACKUP}", {"policy": ""}, token),
                "a token": first.call("POST", "auth/token/create", {}, token),
            }
            assert {name: code for name, (code, _) in refused.items()} == dict.fromkeys(refused, 403)

        other = made(image, root / "other")
        with other.running():
            done = restore(other, world)
            assert done.returncode == 1 and "of a vault with another seal" in done.stderr, done
            assert "has not taken the backup: nothing was changed" in done.stdout, done
            assert other.call("POST", "auth/userpass/login/admin", {"password": other.password})[0] == 200

        # The administrator's password was rotated since: the data has the one before.
        second = made(image, root / "second", like=first)
        second.password = "of-today"
        with second.running():
            second.run(ROTATE, PREVIOUS_PASSWORDS="")
            second.provision(ONE, "of-today-too")
            done = restore(second, world, previous=f"in-between\n{first.password}")
            assert done.returncode == 0 and "wecity restored whole" in done.stdout, done
            assert read(second) == {"k": "健康"}
            # The use of the other one has ended since.
            assert second.sign_in(TWO, "secret-of-two") == ""
            assert f"account {TWO} transport/bus/keys 0 locked" in second.run(INVENTORY)
            assert second.call("POST", "auth/userpass/login/admin", {"password": first.password})[0] == 400
            there = world_of(second, world)
            there.settings["ADMIN_PASSWORD"] = sha256(f"{BACKUP}:{second.password}")
            there.settings["RESTIC_REPOSITORY"] += "-again"
            assert there.task("backup", **scripts).returncode == 0
        with second.running():
            assert read(second) == {"k": "健康"}
            done = restore(second, world)
            assert done.returncode == 1 and "wecity occupied" in done.stdout, done
