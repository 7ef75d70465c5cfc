"""Fields that an earlier release of the format called otherwise, by kind of document and path."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

RENAMED: Mapping[tuple[str, tuple[str, ...]], str] = MappingProxyType(
    {
        ("Cloud", ("spec", "crossing")): "interconnect",
        ("Tenant", ("spec", "domain")): "area",
    }
)
