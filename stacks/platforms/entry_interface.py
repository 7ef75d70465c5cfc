"""What the entry stack needs of a capability type that is the city's entry point, named by `CapabilityType.entry`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from stacks import references
from wecityctl.model.catalogue import CapabilityType
from wecityctl.model.outputs import RouteTarget


@dataclass(frozen=True)
class SignInService:
    """Where people sign in, for an entry point that serves routes with `signIn` (`stacks.platforms.sign_in_interface`).

    `host` and `port` are the service's within the cluster, `name` that of its certificate; those of the `people_` are
    the identity server's, of which the entry point serves `people_paths` at `public_host`.
    """

    host: str
    port: int
    name: str
    people_host: str
    people_port: int
    people_name: str
    people_paths: tuple[str, ...]
    public_host: str


class NameOf(Protocol):
    """Returns an object's name."""

    def __call__(self, gateway: str, /) -> str: ...


class Render(Protocol):
    """Renders the configuration of one entry point, which its pods take from the ConfigMap's entry `routes.conf`.

    `trusted_proxies` are ranges of addresses whose `X-Forwarded-For` says who the client is; nobody else's does. Where
    people sign in, callers cannot set the headers of `sign_in_interface.CLAIM_HEADERS`, whatever the route.
    """

    def __call__(
        self,
        domain: str,
        city: str,
        routes: Sequence[RouteTarget],
        *,
        tls: bool = False,
        sign_in: SignInService | None = None,
        trusted_proxies: Sequence[str] = (),
    ) -> str: ...


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
