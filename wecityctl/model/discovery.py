"""What a vendor's plug-in is asked: to read what exists, and to list what a region offers.

Tokens and properties are those of the vendor's SDK; each vendor's folder has a `DISCOVERY` in its module `discovery`.
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
    """A kind of thing: its title for people, its token, and the properties that we ask for; empty: it has none."""

    title: str
    token: str
    cidr: str = ""
    availability_zone: str = ""
    network: str = ""
    version: str = ""


@dataclass(frozen=True, slots=True)
class Question:
    """A data function of a vendor's: its token and arguments, and where its answer has the words. `items` is a list, of
    texts or of objects with `name`; empty: that there is an answer at all is the answer."""

    token: str
    arguments: Mapping[str, str]
    items: str = ""
    name: str = ""


def plain_provider(cloud: Cloud) -> dict[str, str]:
    """The settings of the vendor's provider: the region."""
    return {"region": cloud.region}


@dataclass(frozen=True, slots=True)
class Discovery:
    """What is asked about a vendor's cloud.

    `network`, `subnet` and `cluster` are the kinds of things that a landing zone may find instead of make. `questions`
    returns what a cloud's words are compared with: what a word is (`ZONES`, `VERSION` or `TYPES`), the word (empty: any
    of the kind), and the question. `version_unknown` says why versions cannot be asked for; empty: they can.
    `provider` returns the settings of the vendor's provider for a cloud; empty ones are not passed.
    """

    network: Kind
    subnet: Kind
    cluster: Kind
    questions: Callable[[Cloud], Iterable[tuple[str, str, Question]]]
    version_unknown: str = ""
    provider: Callable[[Cloud], dict[str, str]] = plain_provider


def discovery_of(provider: str) -> Discovery:
    """The questions for a vendor's plug-in, from the vendor's folder."""
    found = import_module(vendors()[provider].module("discovery")).DISCOVERY
    assert isinstance(found, Discovery)
    return found


def machine_types(cloud: Cloud) -> tuple[str, ...]:
    """The machine types that a cloud's pools name, each once, in file order."""
    return tuple(dict.fromkeys(name for pool in cloud.pools for name in pool.instance_types))
