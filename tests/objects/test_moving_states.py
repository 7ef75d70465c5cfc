"""A city's states on their way between places, each with its real server, and what plain `pulumi` sees there."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.engine.drive import files_of, make_city
from tests.objects.conftest import Place
from wecityctl.engine.state.backend import open_backend
from wecityctl.engine.state.engine_lock import LockedError
from wecityctl.engine.state.move import move
from wecityctl.errors import ConfigurationError
from wecityctl.objects import open_objects
from wecityctl.toolchain import locate

pytestmark = pytest.mark.engine
STACK = "two.base.main"


@pytest.fixture
def files(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> str:
    """A stack and an update of it in local files; their URL."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("PULUMI_HOME", str(tmp_path / "pulumi"))
    monkeypatch.setenv("PULUMI_CONFIG_PASSPHRASE", "correct horse battery staple")
    url = f"file://{tmp_path}/files"
    store = files_of(open_backend(make_city("two", backend=url)))
    assert store is not None
    store.create(STACK)
    store.add_history(STACK, {"kind": "update", "result": "succeeded"})
    return url


def listed(url: str, directory: Path) -> str:
    """What plain `pulumi` lists at `url`."""
    (directory / "Pulumi.yaml").write_text("name: wecity\nruntime: python\n")
    environment = {**os.environ, "PULUMI_BACKEND_URL": url, "PULUMI_SKIP_UPDATE_CHECK": "true"}
    command = [str(locate("pulumi")), "stack", "ls", "--cwd", str(directory), "--non-interactive", "--color", "never"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_there_and_back_again(files: str, place: Place, tmp_path: Path) -> None:
    before = files_of(open_backend(make_city("two", backend=files)))
    assert before is not None
    state = before.stored(STACK)
    done = move(open_backend(make_city("two", backend=files)), place.url)
    assert done.stacks == (STACK,)
    assert not place.secret or place.secret not in repr(done)
    assert STACK in listed(place.url, tmp_path)
    assert STACK not in listed(files, tmp_path)
    there = open_backend(make_city("two", backend=place.url))
    with pytest.raises(ConfigurationError, match="were moved to"):
        open_backend(make_city("two", backend=files))
    # Somebody is at work there: nothing is taken away under his hands.
    opened = open_objects(place.url)
    held = f".pulumi/locks/organization/wecity/{STACK}/1c1b.json"
    opened.put(held, b'{"pid": 1, "hostname": "elsewhere"}')
    with pytest.raises(LockedError):
        move(there, files)
    opened.delete(held)
    assert opened.list(f".pulumi/locks/organization/wecity/{STACK}") == []
    opened.close()
    move(there, files)
    with pytest.raises(ConfigurationError, match="were moved to"):
        open_backend(make_city("two", backend=place.url))
    after = files_of(open_backend(make_city("two", backend=files)))
    assert after is not None
    assert after.stored(STACK) == state
    assert len(after.history(STACK)) == 1
