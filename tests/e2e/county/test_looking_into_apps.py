"""Commands in containers, addresses and forwarded ports of running apps, and the page about them."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import select
import shlex
import signal
import subprocess
import urllib.request

import pytest

from tests.e2e.county.apps import NAME
from tests.e2e.files import CityFiles
from tests.e2e.machine import PROGRAM, Machine
from tests.e2e.pages import follow

pytestmark = pytest.mark.node


def test_a_command_in_a_container_is_noted(home: Machine, city: CityFiles) -> None:
    told = "import sys; print('here'); print('there', file=sys.stderr); sys.exit(7)"
    done = home.run("exec", city, "gardens", "--", "python3", "-c", told, code=7)
    assert (done.out, "there" in done.err, "is lost when the pod ends" in done.err) == ("here\n", True, True)
    upper = "import sys; sys.stdout.write(sys.stdin.read().upper())"
    assert home.run("exec", city, "gardens/web", "-i", "--", "python3", "-c", upper, stdin="oak" * 50_000).out == (
        "OAK" * 50_000
    )
    assert home.run("exec", city, "gardens/files", "--", "no-such-program", code=None).code not in (0, 2)
    assert (
        "did you mean 'gardens-files-0'"
        in home.run("exec", city, "gardens/files", "--pod", "tree-files", "--", "ls", code=2).err
    )
    updates = home.run("history", city, "-n", "100", "-o", "json").json()["updates"]
    noted = [item for item in updates if item["operation"] == "exec" and "parks/gardens/" in item["access"]]
    assert [item["result"] for item in reversed(noted)][:2] == ["exit code 7", "exit code 0"]
    assert noted[-1]["access"].startswith("parks/gardens/web, pod gardens-web-")
    assert "sys.exit(7)" in noted[-1]["access"]
    assert " as " in noted[-1]["who"]


def test_a_command_has_a_terminal_where_there_is_one(home: Machine, city: CityFiles) -> None:
    told = "import os; print('terminal', os.isatty(0), input().upper()); raise SystemExit(5)"
    process, terminal = pty.fork()
    if not process:
        os.environ.update(home.environment())
        os.execv(PROGRAM, [str(PROGRAM), "exec", str(city), "gardens", "--", "python3", "-c", told])
    os.write(terminal, b"oak\n")
    seen = b""
    with contextlib.suppress(OSError):
        while select.select([terminal], [], [], 60)[0]:
            seen += os.read(terminal, 4096)
    # Ends a program that hangs.
    os.close(terminal)
    _, status = os.waitpid(process, 0)
    assert b"terminal True OAK" in seen, seen
    assert os.waitstatus_to_exitcode(status) == 5


def test_an_app_is_opened(home: Machine, city: CityFiles) -> None:
    found = home.run("open", city, "gardens", "-o", "json").json()
    assert found["host"] == f"gardens.{NAME}.gov.example"
    reached = subprocess.run(
        [*shlex.split(found["curl"]), "-s", "-o", "/dev/null", "-w", "%{http_code}"],
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    assert reached.stdout == "200"


def test_a_port_is_forwarded_to_its_own_user_alone(home: Machine, city: CityFiles) -> None:
    with home.running("open", city, "gardens/files", "--forward", "--for", "1m", "-o", "json") as forwarding:
        assert forwarding.stdout is not None
        told = json.loads(forwarding.stdout.readline())
        assert told["pod"] == "gardens-files-0"
        for _ in range(3):
            with urllib.request.urlopen(told["url"], timeout=20) as answer:
                assert answer.status == 200
        ask = f"import urllib.request; urllib.request.urlopen({told['url']!r}, timeout=20)"
        foreign = subprocess.run(
            ["/usr/bin/python3", "-c", ask], user=65534, group=65534, capture_output=True, text=True, check=False
        )
        assert foreign.returncode
        assert "reset" in foreign.stderr or "closed" in foreign.stderr, foreign.stderr
        forwarding.send_signal(signal.SIGINT)
        assert forwarding.wait(30) == 8
    noted = home.run("history", city, "-n", "100", "-o", "json").json()["updates"]
    assert [item["result"] for item in noted if item["operation"] == "forward"] == ["interrupted"]


def test_the_page_about_it_is_true(home: Machine, city: CityFiles) -> None:
    """Every command of the page that is for this city, in its directory."""
    assert follow(home, city, "look-into-an-app.md", "components") > 8
