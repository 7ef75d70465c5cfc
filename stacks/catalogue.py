"""The built-in capability types: metadata only, so that `validate` imports no program and no SDK.

Partners add types from their own packages through the entry-point group `wecityctl.capabilities`, whose objects are
`CapabilityType` values.
"""

from __future__ import annotations

from importlib.metadata import entry_points

from wecityctl.errors import ConfigurationError
from wecityctl.model.catalogue import CapabilityType, Catalogue, UseLimits

ENTRY_POINT_GROUP = "wecityctl.capabilities"

_APPLICATION = "wecityctl.stacks.platforms.application"

BUILTIN: tuple[CapabilityType, ...] = (
    CapabilityType(
        name="gateway",
        platform="application",
        title="single entry point 统一入口",
        engines=("nginx",),
        licence="BSD-2-Clause",
        program=f"{_APPLICATION}.gateway:Gateway",
        port=8080,
        images=("gateway",),
        max_replicas=8,
        health="/-/health on 8080",
    ),
    CapabilityType(
        name="postgresql",
        platform="application",
        title="relational database 关系型数据库",
        engines=("postgresql",),
        licence="PostgreSQL",
        program=f"{_APPLICATION}.postgresql:PostgreSQL",
        port=5432,
        images=("postgresql",),
        binding="postgresql",
        storage="10Gi",
        cpu="250m",
        memory="512Mi",
        health="pg_isready on 5432",
        tls=True,
        limits=UseLimits(connections=20, storage="2Gi", statement_seconds=600),
        # Each takes some megabytes of the server's memory once it is used.
        connections={"small": 95, "medium": 195, "large": 395},
    ),
    CapabilityType(
        name="cache",
        platform="application",
        title="cache 缓存",
        engines=("valkey", "redis"),
        licence="BSD-3-Clause",
        program=f"{_APPLICATION}.cache:Cache",
        port=6379,
        images=("cache",),
        binding="redis",
        storage="1Gi",
        memory="256Mi",
        health="PING on 6379",
        tls=True,
        limits=UseLimits(connections=100, memory="32Mi"),
    ),
)


def load_catalogue() -> Catalogue:
    """The built-in types and those of installed partner packages, by name."""
    types = {item.name: item for item in BUILTIN}
    for entry in entry_points(group=ENTRY_POINT_GROUP):
        item = entry.load()
        if not isinstance(item, CapabilityType):
            raise ConfigurationError(
                f"entry point {entry.name!r} of {ENTRY_POINT_GROUP} is {type(item).__name__}, not a CapabilityType",
                resolution="mend or remove the package that brings it",
            )
        if item.name in types:
            raise ConfigurationError(
                f"capability type {item.name!r} is brought twice: {types[item.name].program} and {item.program}",
                resolution="remove one of the packages",
            )
        types[item.name] = item
    return types
