"""What the entry stack needs of a capability type that is the city's entry point, named by `CapabilityType.entry`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from stacks import references
from wecityctl.model.catalogue import CapabilityType
from wecityctl.model.outputs import RouteTarget


class NameOf(Protocol):
    """Returns an object's name."""

    def __call__(self, gateway: str, /) -> str: ...


class Render(Protocol):
    """Renders the configuration of one entry point, which its pods take from the ConfigMap's entry `routes.conf`."""

    def __call__(self, domain: str, city: str, routes: Sequence[RouteTarget], *, tls: bool = False) -> str: ...


@dataclass(frozen=True)
class EntryInterface:
    """How an entry point gets its routes.

    `check` is a bash script that ends with 0 when ANSWERS answers in a row, at HOST and PORT, have had the digest
    DIGEST; it runs in the capability's image as the numeric `user`. `authority` is the ConfigMap's entry with the CA
    certificates of apps that serve TLS. `config_map` and `tls_secret` name the objects, from the capability's name.
    """

    render: Render
    check: str
    user: int
    authority: str
    config_map: NameOf
    tls_secret: NameOf


def entry_interface(kind: CapabilityType) -> EntryInterface:
    """The interface of an entry point's type. Raises `ConfigurationError` if it cannot be loaded."""
    found: EntryInterface = references.load(kind.entry, kind.name)
    return found
