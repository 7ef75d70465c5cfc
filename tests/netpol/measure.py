"""`python -m tests.netpol.measure`: how long compiling, loading and a pod's start take. Prints a table; needs root."""

from __future__ import annotations

import argparse
import random
import subprocess
import time

from tests.netpol import objects
from tests.netpol.world import Namespace
from wecityctl.local.netpol.compile import compile_state
from wecityctl.local.netpol.model import State
from wecityctl.local.netpol.render import write


def cluster(pods: int, policies: int, *, wide: bool) -> State:
    """Fifty namespaces; `wide` policies take their peers from all of them, each a set of its own."""
    chance = random.Random(7)
    spaces = [f"ns{number}" for number in range(50)]
    found = [objects.namespace(name, zone=f"z{number % 3}") for number, name in enumerate(spaces)]
    for number in range(pods):
        labels = {"app": f"app{number % 10}", "half": str(chance.randrange(2)), "pod": str(number)}
        address = f"10.99.{number // 250}.{number % 250 + 1}"
        found.append(objects.pod(f"{spaces[number % 50]}/p{number}", address, labels, ports={"http": 8080}))
    for number in range(policies):
        peer = {"podSelector": {"matchLabels": {"app": f"app{chance.randrange(10)}"}}}
        if wide:
            strangers = [str(chance.randrange(pods)) for _ in range(100)]
            peer = {
                "namespaceSelector": {},
                "podSelector": {"matchExpressions": [{"key": "pod", "operator": "NotIn", "values": strangers}]},
            }
        spec = {
            "podSelector": {"matchLabels": {"app": f"app{number % 10}"}},
            "policyTypes": ["Ingress", "Egress"],
            "ingress": [{"from": [peer], "ports": [{"port": 8080}, {"port": "http"}]}],
            "egress": [
                {"to": [peer]},
                {"to": [{"ipBlock": {"cidr": "192.0.2.0/24", "except": [f"192.0.2.{number % 250}/32"]}}]},
            ],
        }
        found.append(objects.policy(f"{spaces[number % 50]}/n{number}", **spec))
    return objects.state(found)


def measure(place: Namespace, name: str, state: State) -> None:
    """One line of the table: the best of three, as the kernel's cleaning up of the former table takes turns with it."""
    rounds = []
    for _ in range(3):
        began = time.monotonic()
        script = write(compile_state(state))
        compiled = time.monotonic()
        place.run("nft", "-f", "-", stdin=script)
        rounds.append((time.monotonic() - began, compiled - began, len(script)))
    total, compiling, size = min(rounds)
    print(f"{name:<44} {compiling:7.3f} s  {total - compiling:7.3f} s  {total:7.3f} s  {size // 1024:6} KiB")


def main() -> None:
    """The table."""
    argparse.ArgumentParser(description=__doc__).parse_args()
    place = Namespace()
    try:
        print(f"{'':<44} {'compile':>9}  {'load':>9}  {'together':>9}  {'script':>10}")
        measure(place, "20 pods, 30 policies", cluster(20, 30, wide=False))
        measure(place, "110 pods, 100 policies", cluster(110, 100, wide=False))
        measure(place, "1,000 pods, 500 policies", cluster(1000, 500, wide=False))
        measure(place, "1,000 pods, 500 policies, 900 peers each", cluster(1000, 500, wide=True))
    except subprocess.SubprocessError as error:
        raise SystemExit(str(error)) from error
    finally:
        place.close()


if __name__ == "__main__":
    main()
