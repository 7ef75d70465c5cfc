"""Which waivers hold on a day: what is let pass by the files is let pass in the clusters, and for no longer. Pure."""

from __future__ import annotations

from dataclasses import replace
from datetime import date

from wecityctl.model.city import City, Waiver


def holds(waiver: Waiver, today: date) -> bool:
    """Whether the waiver's last day is not over; that day is included."""
    return today <= date.fromisoformat(waiver.expires)


def as_of(city: City, today: date) -> City:
    """The city with the waivers that hold on that day, and no others."""
    held = tuple(waiver for waiver in city.waivers if holds(waiver, today))
    return city if held == city.waivers else replace(city, waivers=held)
