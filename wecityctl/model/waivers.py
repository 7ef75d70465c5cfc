"""Decides which waivers are valid on a given day. The checks of the files and of the clusters use the same. Pure."""

from __future__ import annotations

from dataclasses import replace
from datetime import date

from wecityctl.model.city import City, Waiver


def holds(waiver: Waiver, today: date) -> bool:
    """Whether the waiver is valid on `today`. Its last day is included."""
    return today <= date.fromisoformat(waiver.expires)


def as_of(city: City, today: date) -> City:
    """The city with only the waivers that are valid on `today`."""
    held = tuple(waiver for waiver in city.waivers if holds(waiver, today))
    return city if held == city.waivers else replace(city, waivers=held)
