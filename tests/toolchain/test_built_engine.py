"""The engine as it is built here still warns of a secret that would be stored in plain text."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.support.control_plane import binary

LONG = "kX9#pL2$vQ8@mN4!"


def config_set(directory: Path, key: str, value: str) -> subprocess.CompletedProcess[str]:
    environment = {
        "HOME": str(directory),
        "PULUMI_HOME": str(directory / "home"),
        "PULUMI_BACKEND_URL": f"file://{directory}",
        "PULUMI_CONFIG_PASSPHRASE": "test",
        "PULUMI_SKIP_UPDATE_CHECK": "true",
    }

    def pulumi(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [str(binary("pulumi")), *arguments, "--non-interactive"]
        return subprocess.run(
            command, cwd=directory, env=environment, capture_output=True, text=True, timeout=60, check=False
        )

    (directory / "Pulumi.yaml").write_text("name: test\nruntime: yaml\n")
    made = pulumi("stack", "init", "one")
    assert made.returncode == 0, made.stderr
    return pulumi("config", "set", key, value, "--stack", "one")


@pytest.mark.engine
@pytest.mark.parametrize(
    ("key", "value", "refused"), [("dbPassword", LONG, True), ("dbPassword", "abc", False), ("region", LONG, False)]
)
def test_what_looks_like_a_secret_is_not_stored_in_plain_text(
    tmp_path: Path, key: str, value: str, refused: bool
) -> None:
    answer = config_set(tmp_path, key, value)
    assert (answer.returncode != 0) == refused
    assert ("looks like a secret" in answer.stderr) == refused
