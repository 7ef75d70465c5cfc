"""Embedded clouds of simulated nodes start side by side."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.sixty_thousand import write
from stacks.catalogue import load_catalogue
from wecityctl.clusters import local_name, open_clusters
from wecityctl.local import cloud as embedded
from wecityctl.model.city import City
from wecityctl.model.events import Event, Progress
from wecityctl.spec import load_city

pytestmark = pytest.mark.cluster


@pytest.fixture
def city(monkeypatch: pytest.MonkeyPatch) -> Iterator[City]:
    """A hundredth of the city of 60,000 CPUs, two of its clouds; its state in a short path."""
    root = Path(tempfile.mkdtemp(prefix="wc-"))
    monkeypatch.setenv("XDG_STATE_HOME", str(root / "s"))
    made = load_city(write(root / "city", 100, "abreast"), load_catalogue()).city
    made = City(made.name, made.domain, made.zones, made.clouds[:2])
    try:
        yield made
    finally:
        for cloud in made.clouds:
            if embedded.is_running(local_name(made, cloud)):
                embedded.reset(local_name(made, cloud))
        shutil.rmtree(root, ignore_errors=True)


def test_each_begins_before_another_has_ended(city: City) -> None:
    told: list[Event] = []
    clusters = open_clusters(city, load_catalogue(), told.append, start=True)
    assert not clusters.failed
    assert list(clusters.found) == [cloud.name for cloud in city.clouds]
    assert len({cluster.identifier for cluster in clusters.found.values()}) == 2
    subjects = [event.subject for event in told if isinstance(event, Progress) and event.subject.startswith("cloud ")]
    first = {name: subjects.index(name) for name in dict.fromkeys(subjects)}
    last = {name: len(subjects) - 1 - subjects[::-1].index(name) for name in first}
    assert len(first) == 2
    one, two = first
    assert first[two] < last[one]
    assert first[one] < last[two]
    again = open_clusters(city, load_catalogue(), told.append, start=True)
    assert {name: cluster.identifier for name, cluster in again.found.items()} == {
        name: cluster.identifier for name, cluster in clusters.found.items()
    }
