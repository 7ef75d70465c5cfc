"""`up` is killed, interrupted or loses its engine, again and again: nothing stays behind and the next one goes on.

The tests follow each other: each `up` goes on where the one before was stopped, the last one has to finish the city.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.e2e.files import SIMULATED, CityFiles, hamlet
from tests.e2e.machine import Cluster, Machine, eventually, objects_in_state, refused_by_the_engine
from wecityctl.listeners.peers import Address, holds, listener

pytestmark = pytest.mark.cluster

NAME = "kill"
Up = subprocess.Popen[str]


@pytest.fixture(scope="module")
def city(home: Machine) -> CityFiles:
    return hamlet(home.root / "city", NAME, SIMULATED, tenants=("parks", "water", "roads"))


@pytest.fixture(scope="module")
def cluster(home: Machine) -> Cluster:
    return Cluster(home.state / "clouds" / f"{NAME}-main" / "kubeconfig")


def after(seconds: float) -> Callable[[Up], None]:
    return lambda process: time.sleep(seconds)


def at(event: str, count: int = 1, **fields: str) -> Callable[[Up], None]:
    """The moment of the `count`th event of that kind whose fields contain these."""

    def wait(process: Up) -> None:
        assert process.stdout is not None
        seen, lines = 0, []
        for text in process.stdout:
            line = json.loads(text)
            lines.append(text)
            seen += line["event"] == event and all(part in line[name] for name, part in fields.items())
            if seen == count:
                return
        raise AssertionError(f"`up` has ended before {count} {event}:\n{''.join(lines)}")

    return wait


def nothing_runs(home: Machine) -> None:
    def gone() -> bool:
        left = home.processes()
        assert not left, left
        return True

    eventually(gone, 3)


@pytest.mark.parametrize(
    "moment",
    [
        pytest.param(after(0.5), id="while it begins"),
        pytest.param(after(2.0), id="while the cloud starts"),
        pytest.param(at("stack_started", stack="secrets"), id="while the secrets are made"),
        pytest.param(at("resource_started"), id="at the first object"),
        pytest.param(at("resource_finished", 5), id="after some objects"),
        pytest.param(at("resource_waiting"), id="while it waits for a workload"),
        pytest.param(at("resource_started", stack="tenant"), id="at the first tenant"),
        pytest.param(at("resource_finished", 12, stack="tenant"), id="among the tenants"),
    ],
)
def test_sigkill_takes_everything_that_up_has_started_with_it(
    home: Machine, city: CityFiles, moment: Callable[[Up], None]
) -> None:
    with home.running("up", city, "--yes", "-o", "json") as process:
        moment(process)
        process.kill()
        process.wait(10)
        nothing_runs(home)
    assert refused_by_the_engine(home, city) == []
    assert home.run("status", city, code=None).code in (4, 6), "what is not there is not told as good"


def test_ctrl_c_ends_up_in_order_and_keeps_the_state(home: Machine, city: CityFiles) -> None:
    with home.running("up", city, "--yes", "-o", "json") as process:
        at("resource_started")(process)
        process.send_signal(signal.SIGINT)
        rest, _ = process.communicate(timeout=90)
        assert process.returncode == 8, rest
        result = json.loads(rest.splitlines()[-1])["result"]
        assert result["exit_code"] == 8
        assert "cancelled" in {item["outcome"] for item in result["stacks"]}
        nothing_runs(home)
    stacks = home.run("status", city, "-o", "json", code=4).json()["stacks"]
    assert {"failed", "never-made"} & {item["state"] for item in stacks}
    assert not [item for item in stacks if item["pending"]], "the engine had time to end its operations"


def test_a_killed_engine_is_an_error_with_a_reason(home: Machine, city: CityFiles) -> None:
    with home.running("up", city, "--yes", "-o", "json") as process:
        at("resource_started")(process)
        engines = [pid for pid, words in home.processes().items() if "/pulumi up " in words]
        assert engines, home.processes()
        for pid in engines:
            os.kill(pid, signal.SIGKILL)
        rest, _ = process.communicate(timeout=90)
        assert process.returncode == 4, rest
        stacks = json.loads(rest.splitlines()[-1])["result"]["stacks"]
        broken = [item["stack"] for item in stacks if item["outcome"] == "failed"]
        states = {
            item["stack"]: item["state"] for item in home.run("status", city, "-o", "json", code=4).json()["stacks"]
        }
        # A stack whose engine had no operation under way has nothing pending: it failed.
        assert broken
        assert {states[stack] for stack in broken} <= {"incomplete", "never-made", "failed"}
        reasons = [item["reason"] for item in stacks if item["outcome"] == "failed"]
        assert reasons
        assert all("SIGKILL" in reason for reason in reasons), reasons
        nothing_runs(home)


def test_a_killed_state_service_is_told_and_the_next_up_goes_on(home: Machine, city: CityFiles) -> None:
    with home.running("up", city, "--yes", "-o", "json") as process:
        at("resource_finished", 2)(process)
        engines = [pid for pid, words in home.processes().items() if "/pulumi up " in words]
        assert engines, home.processes()
        variables = Path(f"/proc/{engines[0]}/environ").read_text().split("\0")
        (url,) = (item.partition("=")[2] for item in variables if item.startswith("PULUMI_BACKEND_URL="))
        assert not [item for item in variables if item.startswith("PULUMI_CONFIG_PASSPHRASE")]
        service = listener(Address.of("127.0.0.1", int(url.rpartition(":")[2])))
        assert service is not None
        (owner,) = [pid for pid in home.processes() if holds(pid, service.inode)]
        os.kill(owner, signal.SIGKILL)
        rest, _ = process.communicate(timeout=120)
        assert process.returncode in (1, 4), rest
        assert "Traceback" not in rest
        assert "state service" in rest
        nothing_runs(home)
    assert home.run("status", city, code=None).code in (4, 6)


def test_the_next_up_finishes_the_city_with_nothing_twice_and_nothing_orphaned(
    home: Machine, city: CityFiles, cluster: Cluster
) -> None:
    home.run("up", city, "--yes")
    home.run("preview", city, "--detailed-exitcode")
    in_state = objects_in_state(home.state / "state", NAME)
    assert len(in_state) == len(set(in_state)) > 50
    assert set(in_state) == cluster.objects_of(NAME)


def test_a_killed_destroy_goes_on_too(home: Machine, city: CityFiles, cluster: Cluster) -> None:
    arguments = ("destroy", city, f"--confirm={NAME}", "--delete-data")
    with home.running(*arguments, "-o", "json") as process:
        at("resource_finished", 6)(process)
        process.kill()
        process.wait(10)
        nothing_runs(home)
    assert refused_by_the_engine(home, city) == []
    home.run(*arguments)
    assert cluster.objects_of(NAME) == set()
