"""A catalogue of the tests' own: the built-in types would change the expected messages whenever one is added."""

from dataclasses import replace

from wecityctl.model.catalogue import Binding, CapabilityType, CapabilityUse, Pods, Port, UseLimits
from wecityctl.model.city import PlatformName


def _type(
    name: str,
    platform: PlatformName = "application",
    *,
    engines: tuple[str, ...] = ("plain",),
    binding: str = "http",
    requires: tuple[str, ...] = (),
    max_replicas: int = 1,
    limits: UseLimits | None = None,
    tls: bool = False,
) -> CapabilityType:
    return CapabilityType(
        name=name,
        platform=platform,
        title=name,
        engines=engines,
        licence="MIT",
        program="tests:none",
        ports=(Port("http", 80),),
        images=(name,) if name in ("gateway", "postgresql", "cache") else (),
        pods=(Pods(max_replicas=max_replicas),),
        binding=(Binding(binding, ("username", "password", "uri"), stores_data=binding != "http") if binding else None),
        uses=tuple(CapabilityUse(item, item) for item in requires),
        entry=name == "gateway",
        sign_in="tests:none" if name == "sign-in" else "",
        limits=limits or UseLimits(),
        tls=tls,
    )


CATALOGUE = {
    item.name: item
    for item in (
        _type("gateway", binding="", max_replicas=8),
        _type(
            "postgresql",
            engines=("postgresql",),
            binding="postgresql",
            limits=UseLimits(connections=20, storage="2Gi", statement_seconds=600),
            tls=True,
        ),
        _type(
            "cache",
            engines=("valkey", "redis"),
            binding="redis",
            limits=UseLimits(connections=100, memory="32Mi"),
            tls=True,
        ),
        _type("identity", binding="oidc", requires=("postgresql",), tls=True),
        _type("sign-in", binding="", requires=("identity",), tls=True),
        _type("needy", requires=("postgresql", "queue")),
        _type("notification", requires=("postgresql",)),
        _type("hen", requires=("egg",)),
        _type("egg", requires=("hen",)),
        # No type requires itself, yet the platforms do: front → back on another platform → middle on the first.
        _type("front", requires=("back",)),
        _type("back", "data", requires=("middle",)),
        _type("middle"),
        _type("warehouse", "data"),
        replace(_type("board"), uses=(CapabilityUse("postgresql", "db"),)),
    )
}
