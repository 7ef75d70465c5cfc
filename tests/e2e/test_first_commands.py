"""Each command as the very first one on a machine: an empty home, and nothing in the cache but programs and images."""

from __future__ import annotations

import os
import pty
import select
import subprocess
import time
from collections.abc import Iterator

import pytest

from tests.e2e.files import SIMULATED, CityFiles, hamlet
from tests.e2e.machine import PROGRAM, TIMEOUT, Machine, machine

NAME = "dawn"
# What each ends with, and what it says then.
FIRST = {
    "preview CITY": (0, "to add"),
    "preview CITY --detailed-exitcode": (2, "to add"),
    "refresh CITY": (0, "does not exist yet"),
    f"destroy CITY --confirm={NAME}": (0, "does not exist"),
    "status CITY": (6, "never made"),
    "outputs CITY": (6, "bring it up first"),
    "history CITY": (6, "bring it up first"),
    "logs CITY parks-app": (6, "is not running"),
    "events CITY parks-app": (6, "is not running"),
    "exec CITY parks-app -- ls": (6, "is not running"),
    "open CITY parks-app": (6, "does not serve"),
    "run CITY parks-app": (2, "has no job"),
    "clouds CITY": (0, "not running"),
    "policy report CITY": (0, "observed"),
    "secrets set CITY parks/key": (0, "is kept"),
    "secrets remove CITY parks/key": (2, "there is no secret"),
    "unlock CITY": (0, "there are no locks"),
    "env CITY": (0, "PULUMI_BACKEND_URL"),
    "import kubernetes": (2, "no kubeconfig was found"),
}
# What needs neither state nor engine; nothing of it may leave anything behind.
LIGHT = (
    "validate CITY",
    "render CITY",
    "graph CITY",
    "place CITY",
    "policy check CITY",
    "secrets list CITY",
    "preview CITY --offline",
    "engine status",
    "images list",
    "local status",
    "doctor",
)


@pytest.fixture
def home() -> Iterator[Machine]:
    """A machine of its own for each test: a command is the first one on it."""
    with machine(anew=True) as made:
        yield made


@pytest.fixture
def city(home: Machine) -> CityFiles:
    # The shortest there is: a new user writes no pools.
    return hamlet(home.root / "city", NAME, {key: value for key, value in SIMULATED.items() if key != "pools"})


@pytest.mark.cluster
@pytest.mark.parametrize("command", FIRST)
def test_a_command_as_the_very_first_one(home: Machine, city: CityFiles, command: str) -> None:
    code, said = FIRST[command]
    done = home.run(*command.replace("CITY", str(city)).split(), code=code, stdin="value\n")
    assert said in done.text, done
    assert home.clouds() == []


@pytest.mark.cluster
def test_what_only_looks_leaves_nothing_behind(home: Machine, city: CityFiles) -> None:
    for command in LIGHT:
        home.run(*command.replace("CITY", str(city)).split())
    assert not home.state.exists()


@pytest.mark.cluster
def test_the_first_up_on_a_terminal_shows_the_changes_and_no_is_kept_to(home: Machine, city: CityFiles) -> None:
    code, said = on_a_terminal(home, "up", city, answer=b"n\n")
    assert "dawn.base.main" in said
    assert "Make these changes?" in said
    assert "you answered no; nothing was changed" in said
    assert code == 8
    assert home.clouds() == []
    assert not home.state.exists()


@pytest.mark.cluster
def test_the_first_up_on_a_terminal_goes_on_with_yes_and_asks_no_more_when_nothing_changes(
    home: Machine, city: CityFiles
) -> None:
    code, said = on_a_terminal(home, "up", city, answer=b"y\n")
    assert code == 0, said
    assert home.clouds() == [f"{NAME}-main"]
    code, said = on_a_terminal(home, "up", city)
    assert (code, "Make these changes?" in said) == (0, False), said
    home.run("destroy", city, f"--confirm={NAME}", "--delete-data", "--stop-clouds")


def on_a_terminal(home: Machine, *arguments: str | os.PathLike[str], answer: bytes = b"") -> tuple[int, str]:
    """The exit code of a call on a terminal and what it shows there; the question gets `answer`."""
    leader, follower = pty.openpty()
    process = subprocess.Popen(
        [str(PROGRAM), *map(str, arguments)],
        env=home.environment(TERM="dumb", NO_COLOR="1"),
        stdin=follower,
        stdout=follower,
        stderr=follower,
        start_new_session=True,
    )
    os.close(follower)
    shown, answered, deadline = b"", False, time.monotonic() + TIMEOUT
    try:
        while time.monotonic() < deadline:
            if not select.select([leader], [], [], 1.0)[0]:
                continue
            try:
                data = os.read(leader, 1 << 16)
            except OSError:
                # The last one on the other side has gone.
                break
            shown += data
            if answer and not answered and b"[y/N]" in shown:
                os.write(leader, answer)
                answered = True
        return process.wait(30), shown.decode(errors="replace").replace("\r\n", "\n")
    finally:
        process.kill()
        process.wait(30)
        os.close(leader)
