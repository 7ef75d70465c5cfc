"""The resource graph of a stack as values: what a program would register, without the SDK that registered it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from wecityctl.model.outputs import Outputs

SECRET = "[secret]"  # noqa: S105 - the mark that stands for a secret
UNKNOWN = "[unknown]"


@dataclass(frozen=True, slots=True)
class RecordedResource:
    """One registration: its inputs as plain JSON with marks for secrets and unknowns."""

    urn: str
    type: str
    name: str
    parent: str
    depends_on: tuple[str, ...]
    inputs: Mapping[str, Any]
    is_custom: bool
    protect: bool

    @property
    def is_kubernetes_object(self) -> bool:
        return self.type.startswith("kubernetes:")


@dataclass(frozen=True, slots=True)
class Recording:
    """Everything one stack would register, in the order of registration, and its outputs."""

    stack: str
    resources: tuple[RecordedResource, ...]
    outputs: Outputs
