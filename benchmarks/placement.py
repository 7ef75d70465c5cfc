"""The placement of many apps over eight clouds: seconds, growth, and how far from the optimal.

The city is made of values, not of files: what is measured is `place`. Amounts come from a fixed sequence, so that
every run places the same cities.
"""

from __future__ import annotations

import math
import random
import time
from dataclasses import dataclass

from stacks.catalogue import load_catalogue
from wecityctl.model.city import (
    App,
    Capability,
    City,
    Cloud,
    Compliance,
    Component,
    DataClass,
    Flow,
    Images,
    Interconnect,
    PlacementRules,
    Platform,
    Pool,
    Prices,
    Quota,
    Resources,
    Tenant,
    Use,
    Zone,
)
from wecityctl.placement import Placement, place

CLOUDS = 8
APPS_PER_TENANT = 20
_ZONES = ("internet", "office", "exchange")
_CLASSES: tuple[DataClass, ...] = ("L1", "L2", "L3")


@dataclass(frozen=True)
class Measured:
    """One placement: `gap` is the part of the cost that may be saved at most."""

    apps: int
    seconds: float
    gap: float
    placement: Placement


def measure(apps: int, seed: int = 20) -> Measured:
    """Place a city of that many apps."""
    city, catalogue = made_city(apps, seed), load_catalogue()
    begun = time.perf_counter()
    found = place(city, catalogue)
    return Measured(apps, time.perf_counter() - begun, found.gap, found)


def measure_placement(apps: int) -> Measured:
    """The median of three different cities of that size, the first search of the process left out."""
    measure(100)
    return sorted((measure(apps, seed) for seed in (20, 21, 22)), key=lambda item: item.seconds)[1]


def growth(small: Measured, large: Measured) -> float:
    """The seconds that the large city would take if it grew from the small one as n·log n."""
    return small.seconds * (large.apps * math.log(large.apps)) / (small.apps * math.log(small.apps))


def made_city(apps: int, seed: int = 20) -> City:
    """A city with eight clouds of four kinds, a database for every fifty apps, and apps that differ as real ones do:
    in size, zone, data, hardware, and in what they may not share a cloud with."""
    chance = random.Random(seed)
    tenants = -(-apps // APPS_PER_TENANT)
    databases = max(4, apps // 50)
    return City(
        "bench",
        "bench.gov.example",
        tuple(Zone(name, "data-exchange" if name == "exchange" else "internet") for name in _ZONES),
        tuple(_cloud(number, apps) for number in range(CLOUDS)),
        (Platform("application", tuple(_capability(number, chance) for number in range(databases))),),
        tuple(Tenant(f"t{n:03}", f"t{n}", "digital-government", Quota("9999", "99Ti", "99Ti")) for n in range(tenants)),
        tuple(_app(number, databases, chance) for number in range(apps)),
        Compliance(regions=("r0", "r1")),
        (Flow("internet", "internet", (5432,), "data-bureau", "shared databases"),),
        Images(architectures=("amd64", "arm64")),
    )


def _cloud(number: int, apps: int) -> Cloud:
    # Together the clouds have a third more than is asked for; no one of them could carry more than a quarter.
    nodes = max(2, apps // 60)
    domestic = number % 2 == 1
    pools = (
        Pool("general", "amd64", nodes, "64", "256Gi", "8Ti", zones=()),
        Pool("kunpeng", "arm64", max(1, nodes // 2), "96", "384Gi", "8Ti", domestic=domestic),
        Pool("gpu", "amd64", max(1, nodes // 4), "64", "512Gi", "8Ti", accelerators={"nvidia.com/gpu": 8}),
    )
    prices = Prices("CNY", f"0.{10 + number:02}", f"0.{20 + (number * 3) % 7:03}", "0.50")
    return Cloud(
        f"cloud-{number}",
        "local",
        _ZONES,
        pools if number % 2 == 0 else pools[:2],
        prices,
        region=f"r{number % 4}",
        interconnect=Interconnect(encrypted=True),
    )


def _capability(number: int, chance: random.Random) -> Capability:
    return Capability(
        "application",
        f"db-{number:03}",
        "postgresql",
        size=chance.choice(["small", "medium", "large"]),
        storage=f"{chance.choice([50, 200, 1000])}Gi",
        zone="internet" if number % 4 else "office",
        placement=PlacementRules(spread="databases"),
    )


def _app(number: int, databases: int, chance: random.Random) -> App:
    zone = chance.choices(_ZONES, (6, 3, 1))[0]
    database = chance.randrange(databases)
    # Half of the apps that could be anywhere use a database across clouds; the others of its zone stay with it.
    uses = (
        (Use(f"db-{database:03}", "db"),)
        if (zone == "internet" and database % 4) or (zone == "office" and not database % 4)
        else ()
    )
    architectures = chance.choices([("amd64",), ("amd64", "arm64"), ("arm64",)], (5, 4, 1))[0]
    gpu = (
        {"nvidia.com/gpu": 1} if zone == "internet" and "arm64" not in architectures and chance.random() < 0.04 else {}
    )
    size = Resources(
        f"{chance.choice([250, 500, 1000, 2000, 4000])}m", f"{chance.choice([512, 1024, 4096, 8192])}Mi", gpu
    )
    return App(
        f"app-{number:04}",
        f"t{number // APPS_PER_TENANT:03}",
        "published",
        zone,
        chance.choices(_CLASSES, (4, 4, 2))[0],
        (
            Component(
                "web", "registry.example/app:1", chance.randint(1, 6), {"http": 8080}, size, architectures=architectures
            ),
        ),
        uses,
        placement=PlacementRules(
            domestic=zone == "internet" and "arm64" in architectures and chance.random() < 0.1,
            anti_affinity=(f"app-{number - 1:04}",)
            if zone == "internet" and number % APPS_PER_TENANT and chance.random() < 0.03
            else (),
        ),
    )


if __name__ == "__main__":
    for count in (250, 500, 1000, 2000):
        done = measure_placement(count)
        print(f"{done.apps:5} apps: {done.seconds:.2f} s, gap {done.gap:.4%}")
