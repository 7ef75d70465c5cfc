"""Checks the City's data classes: their zones exist, and their regions agree with the data residency rule."""

from __future__ import annotations

import re
from collections.abc import Iterator

from wecityctl.errors import Problem
from wecityctl.guesses import nearest
from wecityctl.spec.checks.check import Check
from wecityctl.spec.fields import one_of
from wecityctl.spec.parsed_city import ParsedCity

# Source: the rules for names of S3 buckets, and no more of keys than every server takes.
_S3_TARGET = re.compile(r"s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](?:/[A-Za-z0-9][A-Za-z0-9._-]*)*/?")
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


def backups(parsed_city: ParsedCity) -> Iterator[Problem]:
    """What takes backups is complete, and its secrets have names of their own."""
    if parsed_city.city is None:
        return
    source, backup = parsed_city.city, parsed_city.city.value.compliance.backup
    base = ("spec", "compliance", "backup")
    if not backup.is_taken:
        for name in ("addresses", "credentials", "password", "authority"):
            if getattr(backup, name):
                message = f"without `endpoint` nothing takes backups, and {name} is of no use"
                yield source.problem((*base, name), message, "the URL of the target's server in `endpoint`")
        return
    if not _S3_TARGET.fullmatch(backup.target):
        expected = "s3://BUCKET or s3://BUCKET/PREFIX; the server and its port belong into `endpoint`"
        yield source.problem((*base, "target"), f"{backup.target!r} is no bucket that backups can go to", expected)
    needed = {
        "addresses": "the ranges in which the server answers",
        "credentials": "the name of a secret with ACCESS-KEY:SECRET-KEY",
        "password": "the name of a secret with the password that encrypts backups",
    }
    if missing := [name for name in needed if not getattr(backup, name)]:
        message = f"backups are not taken without {', '.join(missing)}"
        expected = ", ".join(f"in {name} {needed[name]}" for name in missing)
        yield source.problem((*base, "endpoint"), message, expected, on_key=True)
    taken = dict.fromkeys(parsed_city.city.value.images.credentials.values(), "images.credentials")
    for field in ("credentials", "password", "authority"):
        name = getattr(backup, field)
        if name and name in taken:
            message = f"the secret {name!r} is that of {taken[name]} already"
            yield source.problem((*base, field), message, "a secret of its own")
        taken[name] = f"backup.{field}"


CHECKS: tuple[Check, ...] = (
    backups,
    zones_of_classes,
    regions_of_classes,
)
