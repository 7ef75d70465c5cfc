"""Fields that were renamed in the format: kind of document and old path, with the new name of the last part."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

RENAMED: Mapping[tuple[str, tuple[str, ...]], str] = MappingProxyType(
    {
        ("Cloud", ("spec", "crossing")): "interconnect",
        ("Tenant", ("spec", "domain")): "area",
    }
)
