"""Plain `pulumi` and we on the same places: it sees the states that we put, and we see those that it writes."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.objects.conftest import Place
from tests.support.control_plane import binary
from wecityctl.objects import Objects
from wecityctl.toolchain import locate

pytestmark = [pytest.mark.engine, pytest.mark.build]

STACKS = ".pulumi/stacks/wecity"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project's directory."""
    directory = tmp_path / "project"
    directory.mkdir()
    (directory / "Pulumi.yaml").write_text("name: wecity\nruntime: python\n")
    return directory


def pulumi(place: Place, project: Path, *arguments: str, text: str | None = None) -> str:
    """What plain `pulumi` prints with this place as its back end."""
    binary("pulumi")
    Path(project, "home").mkdir(exist_ok=True)
    env = {
        **os.environ,
        "PULUMI_HOME": str(project / "home"),
        "PULUMI_BACKEND_URL": place.url,
        "PULUMI_CONFIG_PASSPHRASE": "passphrase",
        "PULUMI_SKIP_UPDATE_CHECK": "true",
    }
    command = [str(locate("pulumi")), *arguments, "--non-interactive", "--cwd", str(project)]
    done = subprocess.run(command, env=env, input=text, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def deployment(name: str) -> dict[str, Any]:
    """A deployment with the stack's own resource and an output."""
    kind = "pulumi:pulumi:Stack"
    resource = {
        "urn": f"urn:pulumi:{name}::wecity::{kind}::wecity-{name}",
        "custom": False,
        "type": kind,
        "outputs": {"size": name},
    }
    manifest = {"time": "2026-01-01T00:00:00Z", "magic": "", "version": ""}
    return {"manifest": manifest, "resources": [resource]}


def test_both_see_the_same_states(place: Place, objects: Objects, project: Path) -> None:
    Path(project.parent, "state").mkdir(exist_ok=True)
    # Ours, seen by it.
    objects.put(".pulumi/meta.yaml", b"version: 1\n")
    stored = {"version": 3, "checkpoint": {"stack": "organization/wecity/ours", "latest": deployment("ours")}}
    objects.put(f"{STACKS}/ours.json", json.dumps(stored).encode())
    listed = json.loads(pulumi(place, project, "stack", "ls", "--json"))
    assert [(stack["name"], stack["resourceCount"]) for stack in listed] == [("ours", 1)]
    exported = json.loads(pulumi(place, project, "stack", "export", "--stack", "ours"))
    assert exported["deployment"]["resources"][0]["outputs"] == {"size": "ours"}
    # Its, seen by us.
    pulumi(place, project, "stack", "init", "theirs", "--no-select")
    text = json.dumps({"version": 3, "deployment": deployment("theirs")})
    pulumi(place, project, "stack", "import", "--stack", "theirs", text=text)
    written = objects.get(f"{STACKS}/theirs.json")
    assert written is not None
    assert json.loads(written)["checkpoint"]["latest"]["resources"][0]["outputs"] == {"size": "theirs"}
    sizes = {entry.key: entry.size for entry in objects.list(STACKS)}
    assert sizes[f"{STACKS}/theirs.json"] == len(written)
    # A lock of ours is one for it; what we delete is gone for it.
    lock = f".pulumi/locks/organization/wecity/theirs/{'0' * 8}-0000-4000-8000-{'0' * 12}.json"
    assert objects.create(lock, b'{"pid":1,"username":"us","hostname":"here","timestamp":"2026-01-01T00:00:00Z"}')
    with pytest.raises(AssertionError, match="the stack is currently locked by 1 lock"):
        pulumi(place, project, "stack", "import", "--stack", "theirs", text=text)
    objects.delete(lock)
    pulumi(place, project, "stack", "import", "--stack", "theirs", text=text)
    for entry in objects.list(STACKS):
        objects.delete(entry.key)
    assert json.loads(pulumi(place, project, "stack", "ls", "--json")) == []
