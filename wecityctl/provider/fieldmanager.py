"""The name under which a resource's fields are owned on the API server.

Derived, not drawn: a run that was killed before the state was written left objects behind, and the next run must own
their fields instead of conflicting with itself.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any, Final

from wecityctl.provider.annotations import PATCH_FIELD_MANAGER, annotation

PREFIX: Final = "pulumi-kubernetes-"


def derive(urn: str, cluster: str) -> str:
    """The manager for a resource on a cluster: eight hex digits of a hash over both."""
    digest = hashlib.sha256(f"{cluster}\n{urn}".encode()).hexdigest()
    return PREFIX + digest[:8]


def choose(inputs: Mapping[str, Any], state: Mapping[str, Any] | None, derived: str) -> str:
    """The annotation's wish, else what the state records, else the derived name."""
    wish = annotation(inputs, PATCH_FIELD_MANAGER)
    recorded = (state or {}).get("__fieldManager")
    return wish or (recorded if isinstance(recorded, str) else "") or derived
