"""Derives the field managers under which a resource's fields are owned on the API server.

They are derived instead of random: a run that was killed before it wrote the state leaves objects behind, and the next
run must own their fields instead of conflicting with itself.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

from wecityctl.provider.adoption import APPLY_PREFIX
from wecityctl.provider.annotations import PATCH_FIELD_MANAGER, annotation


def derive(urn: str, cluster: str) -> tuple[str, str]:
    """The two managers of a resource on a cluster, each with eight hex digits of a hash over both arguments.

    Objects are created under the first. An adopted object changes to the other one. Whoever knows it under the former
    manager (an older state, the old half of a replacement) can tell that it is no longer theirs.
    """

    def named(*parts: str) -> str:
        return APPLY_PREFIX + hashlib.sha256("\n".join(parts).encode()).hexdigest()[:8]

    return named(cluster, urn), named(cluster, urn, "adopted")


def successor(managers: tuple[str, str], current: Sequence[str]) -> str:
    """The derived manager for adopting an object that the `current` managers (the latest last) have applied."""
    ours = [manager for manager in current if manager in managers]
    if len(ours) > 1:
        return ours[-1]  # an adoption that was interrupted
    first, second = managers
    return second if ours == [first] else first


def choose(inputs: Mapping[str, Any], state: Mapping[str, Any] | None, derived: str) -> str:
    """The manager from the annotation, else the one that the state records, else the derived one."""
    wish = annotation(inputs, PATCH_FIELD_MANAGER)
    recorded = (state or {}).get("__fieldManager")
    return wish or (recorded if isinstance(recorded, str) else "") or derived
