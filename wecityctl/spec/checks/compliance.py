"""Checks the City's data classes: their zones exist, and their regions agree with the data residency rule."""

from __future__ import annotations

from collections.abc import Iterator

from wecityctl.errors import Problem
from wecityctl.guesses import nearest
from wecityctl.spec.checks.check import Check
from wecityctl.spec.fields import one_of
from wecityctl.spec.parsed_city import ParsedCity

_RESIDENT = ("L3", "L4")


def zones_of_classes(parsed_city: ParsedCity) -> Iterator[Problem]:
    """A data class is restricted to declared zones. A misspelt name would leave it no zone at all."""
    if parsed_city.city is None or not parsed_city.knows_all("City"):
        return
    names = parsed_city.zone_names
    for data_class, rule in parsed_city.city.value.compliance.data_classes.items():
        for index, zone in enumerate(rule.zones):
            if zone not in names:
                path = ("spec", "compliance", "dataClasses", data_class, "zones", index)
                yield parsed_city.city.problem(path, f"there is no zone {zone!r}", one_of(names), nearest(zone, names))


def regions_of_classes(parsed_city: ParsedCity) -> Iterator[Problem]:
    """Regions of data classes that hold citizens' data are among `residency.regions`. Others may use other regions."""
    if parsed_city.city is None:
        return
    compliance = parsed_city.city.value.compliance
    for data_class, rule in compliance.data_classes.items():
        for index, region in enumerate(rule.regions if compliance.regions else ()):
            if data_class in _RESIDENT and region not in compliance.regions:
                path = ("spec", "compliance", "dataClasses", data_class, "regions", index)
                message = f"region {region!r} is none of residency.regions, which {data_class} data must not leave"
                yield parsed_city.city.problem(
                    path, message, one_of(compliance.regions), nearest(region, compliance.regions)
                )


CHECKS: tuple[Check, ...] = (
    zones_of_classes,
    regions_of_classes,
)
