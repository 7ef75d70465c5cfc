"""What a capability type is: metadata that checks, placement and stacks share, without any program behind it.

Programs are named by `module:attribute` and imported only by the stack that runs them, so that `validate` stays light.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Literal

from wecityctl.model.city import PlatformName, Size, Use

BindingKind = Literal["", "postgresql", "redis", "http"]


@dataclass(frozen=True, slots=True)
class UseLimits:
    """The most that one use may take of an instance. Empty and 0: the capability has no such limit.

    `connections` open at a time; bytes of `storage` and `memory` as quantities; `statement_seconds` for one statement.
    """

    connections: int = 0
    storage: str = ""
    memory: str = ""
    statement_seconds: int = 0


@dataclass(frozen=True, slots=True)
class CapabilityType:
    """A service that a middle platform can offer.

    `requires` and `provides` are names of capability types; `images` names recipes or public references;
    `binding` is the Service Binding type an app receives (`""`: nothing to bind); `port` is the service's TCP port;
    `program` is `module:attribute` of the component resource; `encrypted` says that its protocol is, always; `tls`
    that its server takes a certificate of the city's own and refuses plain connections; `sm` that it offers SM2, SM3
    and SM4 for what it stores and sends; `limits` are those of a use that states none;
    `connections` is how many an instance has for all apps together, by size (empty: it is not counted).
    """

    name: str
    platform: PlatformName
    title: str
    engines: tuple[str, ...]
    licence: str
    program: str
    port: int
    images: tuple[str, ...]
    binding: BindingKind = ""
    requires: tuple[str, ...] = ()
    provides: tuple[str, ...] = ()
    storage: str = ""
    cpu: str = "100m"
    memory: str = "128Mi"
    max_replicas: int = 1
    health: str = ""
    encrypted: bool = False
    tls: bool = False
    sm: bool = False
    limits: UseLimits = UseLimits()
    connections: Mapping[Size, int] = field(default_factory=dict)

    def limits_of(self, use: Use) -> UseLimits:
        """The limits that hold for `use`: its own where it states them and the type has them, else the type's."""
        stated = {item.name: getattr(use, item.name) for item in fields(UseLimits) if getattr(self.limits, item.name)}
        return replace(self.limits, **{name: value for name, value in stated.items() if value})


Catalogue = Mapping[str, CapabilityType]
