"""Our reading and writing of Pulumi's passphrase format against the CLI's own."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from tests.support.control_plane import binary
from wecityctl.engine.secrets.crypto import WrongPassphraseError, has_secrets, new_salt, open_salt
from wecityctl.errors import ExitCode


def test_values_come_back() -> None:
    salt, crypter = new_salt("open sesame")
    cipher = crypter.encrypt("密钥")
    assert "密钥" not in cipher
    assert open_salt("open sesame", salt).decrypt(cipher) == "密钥"


def test_a_wrong_passphrase_is_an_authentication_error() -> None:
    salt, _ = new_salt("right")
    with pytest.raises(WrongPassphraseError) as caught:
        open_salt("wrong", salt)
    assert caught.value.exit_code == ExitCode.AUTHENTICATION
    assert "PULUMI_CONFIG_PASSPHRASE" in caught.value.resolution


@pytest.mark.engine
def test_a_secret_that_the_cli_encrypted_is_read(home: Path, tmp_path: Path) -> None:
    project = tmp_path / "project"
    project.mkdir()
    (project / "Pulumi.yaml").write_text("name: wecity\nruntime: python\n")
    state = tmp_path / "their-state"
    state.mkdir()
    environment = {
        "PULUMI_HOME": str(tmp_path / "pulumi"),
        "PULUMI_BACKEND_URL": f"file://{state}",
        "PULUMI_CONFIG_PASSPHRASE": "theirs",
        "PULUMI_SKIP_UPDATE_CHECK": "true",
        "PATH": "/usr/bin:/bin",
    }

    def pulumi(*arguments: str) -> str:
        return subprocess.run(
            [str(binary("pulumi")), *arguments, "--non-interactive", "-C", str(project)],
            env=environment,
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        ).stdout

    pulumi("stack", "init", "one")
    pulumi("config", "set", "--secret", "password", "s3cret", "--stack", "one")
    settings = (project / "Pulumi.one.yaml").read_text()
    salt = settings.partition("encryptionsalt: ")[2].splitlines()[0]
    cipher = settings.partition("secure: ")[2].splitlines()[0]
    crypter = open_salt("theirs", salt)
    assert crypter.decrypt(cipher) == "s3cret"
    # And the other way round: the CLI reads what we encrypted.
    ours = crypter.encrypt("from us")
    (project / "Pulumi.one.yaml").write_text(settings.replace(cipher, ours))
    assert pulumi("config", "get", "password", "--stack", "one").strip() == "from us"


def test_secrets_are_revealed_at_any_depth() -> None:
    _, crypter = new_salt("x")
    secret = {
        "4dabf18193072939515e22adb298388d": "1b47061264138c4ac30d75fd1eb44270",
        "ciphertext": crypter.encrypt(json.dumps({"a": 1})),
    }
    value = {"list": [secret], "plain": 2}
    assert has_secrets(value)
    assert crypter.reveal(value) == {"list": [{"a": 1}], "plain": 2}
    assert not has_secrets(crypter.reveal(value))
