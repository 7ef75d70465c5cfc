"""On which clouds something may be placed, as the files say."""

from __future__ import annotations

from collections.abc import Iterable

from wecityctl.model.city import Cloud
from wecityctl.spec.parsed_city import ParsedCity


def possible_clouds(parsed_city: ParsedCity, pin: str, zone: str) -> list[Cloud]:
    """The clouds that something with this pin and zone can be placed on."""
    clouds = [cloud.value for cloud in parsed_city.clouds]
    return [cloud for cloud in clouds if (cloud.name == pin if pin else not zone or zone in cloud.zones)]


def on_one(clouds: Iterable[Cloud]) -> bool:
    """Whether these are one cloud, or none."""
    return len({cloud.name for cloud in clouds}) <= 1
