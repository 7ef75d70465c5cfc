"""The resources that a stack's program would register, as plain values that need no Pulumi SDK."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from wecityctl.model.outputs import Outputs

SECRET = "[secret]"  # noqa: S105 - the mark that stands for a secret
UNKNOWN = "[unknown]"


@dataclass(frozen=True, slots=True)
class RecordedResource:
    """One registered resource: its inputs as plain JSON, with marks in place of secrets and unknown values."""

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
    """All resources that one stack would register, in order of registration, and its outputs."""

    stack: str
    resources: tuple[RecordedResource, ...]
    outputs: Outputs
