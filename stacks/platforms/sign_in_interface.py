"""What the entry stack needs of a capability type where people sign in, named by `CapabilityType.sign_in`.

The entry point asks it about each request of a route with `signIn` (`CHECK` or `CLAIMS`), passes a person's way through
`login`, `callback` and `logout` on to it, and takes what it answers in `CLAIM_HEADERS` for the app. What is at each
path is agreed between the two; callers reach the paths below `own_path` of an app alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from stacks import references
from wecityctl.model.catalogue import CapabilityType
from wecityctl.model.outputs import RouteTarget

# Paths of the sign-in service. Both answer 204 with the claims of whoever is signed in; nobody gets 401 or no claims.
CHECK, CLAIMS = "/-/sign-in/check", "/-/sign-in/claims"
# The digest of the configuration that the service has loaded, for the Job that waits for it.
DIGEST = "/-/sign-in/digest"
# Below which the identity server tells an app's client, named behind the slash, that a session has ended.
BACK_CHANNEL = "/-/sign-in/back-channel"
# The verified claims, as headers of the service's answer and of the request that the app gets.
SUBJECT, USER, GROUPS = CLAIM_HEADERS = ("X-WeCity-Subject", "X-WeCity-User", "X-WeCity-Groups")
# The beginning of the names of all cookies of the service, which no app gets. Browsers take cookies with `__Host-` from
# the host itself and over TLS only, so that no other host can plant one.
COOKIES = "__Host-wecity-"


def own_path(app: str, step: str) -> str:
    """The path, on the app's own host, of one step: `login`, `callback`, `logout` or `signed-out`."""
    return f"/-/sign-in/{app}/{step}"


def client_name(route: RouteTarget) -> str:
    """The name of a routed app's client in the identity server, and of its part of the service."""
    return f"{route.tenant}.{route.app}"


def cookie_name(route: RouteTarget) -> str:
    """The name of the cookie with the session of a person at one app."""
    return f"{COOKIES}{route.app}"


@dataclass(frozen=True)
class SignInClient:
    """A route of which the service answers for people, `origin` the scheme, host and port that they see.

    `secret` is the client's own, `cookies` that with which its sessions are encrypted: no other client's are read.
    """

    route: RouteTarget
    origin: str
    secret: str
    cookies: str


@dataclass(frozen=True)
class Realm:
    """The realm that people sign in to: `public` is its address for browsers and its issuer, `inside` that for the
    service, which knows the server by the certificates in the file `authority`."""

    public: str
    inside: str
    authority: str


class RenderClients(Protocol):
    """Renders the configuration of the service."""

    def __call__(self, clients: Sequence[SignInClient], realm: Realm) -> str: ...


class NameOf(Protocol):
    """Returns an object's name."""

    def __call__(self, capability: str, /) -> str: ...


@dataclass(frozen=True)
class SignInInterface:
    """How the sign-in service and the identity server get the clients.

    `render` is for the entry `clients.conf` of the Secret `secret`, whose entry `digest` is what the service answers at
    `DIGEST` once it has loaded them. `script` makes the same clients in the identity server: a shell script that runs
    in its image, as its administrator, and ends when the service has loaded them; see there for its environment.
    `realm` is the path of the realm that people sign in to, `paths` are those that browsers need of the server, and
    `root` is the path below which all of the server is.
    """

    render: RenderClients
    secret: NameOf
    script: str
    realm: str
    paths: tuple[str, ...]
    root: str


def sign_in_interface(kind: CapabilityType) -> SignInInterface:
    """The interface of a type where people sign in. Raises `ConfigurationError` if it cannot be loaded."""
    found: SignInInterface = references.load(kind.sign_in, kind.name)
    return found
