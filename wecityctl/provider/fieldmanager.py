"""The names under which a resource's fields are owned on the API server.

Derived, not drawn: a run that was killed before the state was written left objects behind, and the next run must own
their fields instead of conflicting with itself.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

from wecityctl.provider.adoption import APPLY_PREFIX
from wecityctl.provider.annotations import PATCH_FIELD_MANAGER, annotation


def derive(urn: str, cluster: str) -> tuple[str, str]:
    """The two managers of a resource on a cluster: eight hex digits each, of a hash over both.

    Objects are made under the first. One that is adopted changes to the other, so that whoever knows it under the
    former name (an older state, the old half of a replacement) can tell that it is not his any more.
    """

    def named(*parts: str) -> str:
        return APPLY_PREFIX + hashlib.sha256("\n".join(parts).encode()).hexdigest()[:8]

    return named(cluster, urn), named(cluster, urn, "adopted")


def successor(managers: tuple[str, str], current: Sequence[str]) -> str:
    """The derived manager under which an object is adopted that `current` (the latest last) have applied."""
    ours = [manager for manager in current if manager in managers]
    if len(ours) > 1:
        return ours[-1]  # an adoption that was interrupted
    first, second = managers
    return second if ours == [first] else first


def choose(inputs: Mapping[str, Any], state: Mapping[str, Any] | None, derived: str) -> str:
    """The annotation's wish, else what the state records, else the derived name."""
    wish = annotation(inputs, PATCH_FIELD_MANAGER)
    recorded = (state or {}).get("__fieldManager")
    return wish or (recorded if isinstance(recorded, str) else "") or derived
