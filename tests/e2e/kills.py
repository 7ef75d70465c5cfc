"""`make kills`: kills runs of every operation at random moments, and holds what is left against the cluster.

Each round starts an operation on a small city and ends with SIGKILL the command, one of its engines or its state
service. Then nothing may be left running and every state must be one that the engine takes; after every fifth round an
`up` must finish the city, with nothing twice, nothing lost and nothing that no state knows.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

from tests.e2e.files import SIMULATED, CityFiles, hamlet
from tests.e2e.machine import Cluster, Machine, eventually, machine, objects_in_state, refused_by_the_engine
from wecityctl.listeners.peers import Address, holds, listener

NAME = "kills"
OPERATIONS = ("up", "changed up", "refresh", "preview", "destroy")
TARGETS = ("command", "command", "engine", "state service")
CHECK_EVERY = 5
# A first `up` takes about ten seconds, the others less.
LONGEST = 9.0


def start(home: Machine, city: CityFiles, operation: str, round_: int) -> subprocess.Popen[str]:
    """Begin an operation in a process of its own."""
    if operation == "changed up":
        city.component("meter")["env"] = {"ROUND": str(round_)}
        city.save()
    arguments = {
        "refresh": ("refresh", city, "-o", "json"),
        "preview": ("preview", city, "-o", "json"),
        "destroy": ("destroy", city, f"--confirm={NAME}", "--delete-data", "-o", "json"),
    }.get(operation, ("up", city, "--yes", "--no-skip", "-o", "json"))
    return subprocess.Popen(
        [str(Path(sys.executable).with_name("wecityctl")), *map(str, arguments)],
        env=home.environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        text=True,
    )


def victim(home: Machine, process: subprocess.Popen[str], target: str) -> int:
    """The process to be killed; the command itself where there is no other (yet)."""
    engines = [pid for pid, words in home.processes().items() if "/pulumi " in words]
    if target == "command" or not engines:
        return process.pid
    if target == "engine":
        return random.choice(engines)
    try:
        variables = Path(f"/proc/{engines[0]}/environ").read_text().split("\0")
        url = next(item for item in variables if item.startswith("PULUMI_BACKEND_URL=http"))
        service = listener(Address.of("127.0.0.1", int(url.rpartition(":")[2])))
    except (OSError, StopIteration):
        service = None
    owners = [pid for pid in home.processes() if service is not None and holds(pid, service.inode)]
    return owners[0] if owners else process.pid


def kill(home: Machine, city: CityFiles, operation: str, round_: int, chance: random.Random) -> str:
    """One round; how the operation ended."""
    target = chance.choice(TARGETS)
    process = start(home, city, operation, round_)
    time.sleep(chance.uniform(0.2, LONGEST))
    if process.poll() is not None:
        return "had ended"
    pid = victim(home, process, target)
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        target = "nothing"
    process.wait(120)

    def gone() -> bool:
        assert not home.processes(), home.processes()
        return True

    eventually(gone, 10)
    refused = refused_by_the_engine(home, city)
    assert refused == [], refused
    return f"{target} killed"


def check(home: Machine, city: CityFiles, cluster: Cluster) -> None:
    """An `up` finishes the city, and its states have exactly what is there."""
    home.run("up", city, "--yes")
    home.run("preview", city, "--detailed-exitcode")
    known = objects_in_state(home.state / "state", NAME)
    assert len(known) == len(set(known)) > 20, Counter(known).most_common(3)
    assert set(known) == cluster.objects_of(NAME), set(known) ^ cluster.objects_of(NAME)
    left = [path for part in ("journals", "locks") for path in (home.state / "state").rglob(f".wecity/{part}/*.jsonl")]
    assert left == [], left


def main() -> int:
    """Run the rounds; ends with 1 at the first that leaves something wrong."""
    parser = argparse.ArgumentParser(prog="python -m tests.e2e.kills")
    parser.add_argument("--count", type=int, default=200, help="how many runs are killed")
    parser.add_argument("--seed", type=int, default=int(time.time()))
    options = parser.parse_args()
    chance, outcomes = random.Random(options.seed), Counter[str]()
    print(f"seed {options.seed}", flush=True)
    with machine() as home:
        city = hamlet(home.root / "city", NAME, SIMULATED, tenants=("parks", "water"))
        cluster = Cluster(home.state / "clouds" / f"{NAME}-main" / "kubeconfig")
        for number in range(options.count):
            operation = chance.choice(OPERATIONS)
            ended = kill(home, city, operation, number, chance)
            outcomes[f"{operation}: {ended}"] += 1
            if number % CHECK_EVERY == CHECK_EVERY - 1:
                check(home, city, cluster)
                print(f"{number + 1} of {options.count}: nothing lost", flush=True)
    for outcome, count in sorted(outcomes.items()):
        print(f"{count:4d}  {outcome}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
