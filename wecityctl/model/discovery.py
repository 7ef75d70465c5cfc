"""Describes which data functions of a vendor's Pulumi plug-in read existing resources and list what a region offers.

Tokens and properties are those of the vendor's SDK. Each vendor's folder has a `DISCOVERY` in its module `discovery`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from importlib import import_module

from wecityctl.model.city import Cloud
from wecityctl.model.vendors import vendors

ZONES, VERSION, TYPES = "availability zone", "version of Kubernetes", "machine type"


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of resource: its title, its type token, and the properties to read; an empty one does not exist."""

    title: str
    token: str
    cidr: str = ""
    availability_zone: str = ""
    network: str = ""
    version: str = ""


@dataclass(frozen=True, slots=True)
class Question:
    """A data function of a vendor: its token, its arguments, and where the result has the offered names.

    `items` is a list of strings, or of objects with the property `name`. Empty: any result means that the asked name
    exists.
    """

    token: str
    arguments: Mapping[str, str]
    items: str = ""
    name: str = ""


def plain_provider(cloud: Cloud) -> dict[str, str]:
    """The default settings of the vendor's provider: the region."""
    return {"region": cloud.region}


@dataclass(frozen=True, slots=True)
class Discovery:
    """What can be asked about a vendor's cloud.

    `network`, `subnet` and `cluster` are the kinds of existing resources that a landing zone can use. `questions`
    yields tuples: the category (`ZONES`, `VERSION` or `TYPES`), the name to look up (empty: any of the category), and
    the question. `version_unknown` says why versions cannot be listed; empty: they can. `provider` returns the settings
    of the vendor's provider for a cloud; empty ones are not passed.
    """

    network: Kind
    subnet: Kind
    cluster: Kind
    questions: Callable[[Cloud], Iterable[tuple[str, str, Question]]]
    version_unknown: str = ""
    provider: Callable[[Cloud], dict[str, str]] = plain_provider


def discovery_of(provider: str) -> Discovery:
    """The `DISCOVERY` of a vendor, imported from its folder."""
    found = import_module(vendors()[provider].module("discovery")).DISCOVERY
    assert isinstance(found, Discovery)
    return found


def machine_types(cloud: Cloud) -> tuple[str, ...]:
    """The machine types that a cloud's pools name, without repeats, in file order."""
    return tuple(dict.fromkeys(name for pool in cloud.pools for name in pool.instance_types))
