"""A stack's state as values: what is in a checkpoint or an export, without regard to where it is kept."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from wecityctl.engine.process.event_log import name_of, type_of
from wecityctl.engine.secrets.crypto import SECRET, SIGNATURE

EXPORT = "wecity"
ROOT_TYPE = "pulumi:pulumi:Stack"
PROVIDER_PREFIX = "pulumi:providers:"
KUBERNETES_PROVIDER = f"{PROVIDER_PREFIX}kubernetes"

Deployment = dict[str, Any]


@dataclass(frozen=True, slots=True)
class StateResource:
    """One resource of a state. `inputs` and `outputs` keep secrets encrypted (or blinded, as the store gave them)."""

    urn: str
    type: str
    id: str
    custom: bool
    parent: str
    protect: bool
    inputs: Mapping[str, Any] = field(repr=False)
    outputs: Mapping[str, Any] = field(repr=False)
    init_errors: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return name_of(self.urn)

    @property
    def is_provider(self) -> bool:
        return self.type.startswith(PROVIDER_PREFIX)


@dataclass(frozen=True, slots=True)
class PendingOperation:
    """What the engine was doing when it was killed: creating, updating, deleting, reading, importing."""

    urn: str
    type: str


@dataclass(frozen=True, slots=True)
class StackState:
    """A stack as the back end has it. `outputs` is its one typed export as JSON, decrypted, or `None` before a run.

    `last_update` is an RFC 3339 time; `digest` is the SHA-256 of the state as stored, `""` where the store has none.
    """

    stack: str
    resources: tuple[StateResource, ...]
    pending: tuple[PendingOperation, ...]
    outputs: Mapping[str, Any] | None = field(repr=False)
    last_update: str
    digest: str
    deployment: Deployment | None = field(repr=False)

    @property
    def urns(self) -> frozenset[str]:
        return frozenset(resource.urn for resource in self.resources)

    @property
    def is_empty(self) -> bool:
        """Whether nothing but the root and the providers is left."""
        return all(resource.type == ROOT_TYPE or resource.is_provider for resource in self.resources)


def deployment_in(text: bytes | str) -> Deployment | None:
    """The deployment in a stored checkpoint; `None` for a stack that was made and never run.

    Raises `ValueError` for what is no checkpoint: valid JSON of another shape is a damaged state, not an empty one.
    """
    return deployment_of(json.loads(text))


def deployment_of(data: Any) -> Deployment | None:
    """The same of a checkpoint that was parsed. Raises `ValueError`."""
    checkpoint = data.get("checkpoint") if isinstance(data, dict) else None
    if not isinstance(checkpoint, dict):
        raise ValueError("there is no checkpoint in it")
    latest = checkpoint.get("latest")
    if latest is None and isinstance(checkpoint.get("stack"), str):
        return None
    if not isinstance(latest, dict):
        raise ValueError("its checkpoint is no object")
    if not latest:
        raise ValueError("its checkpoint is empty")
    for name in ("resources", "pending_operations"):
        items = latest.get(name)
        if items is None:
            continue
        if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
            raise ValueError(f"its {name} are no list of objects")
    for item in latest.get("resources") or ():
        if not isinstance(item.get("urn"), str) or not isinstance(item.get("type"), str):
            raise ValueError("a resource in it has no URN or no type")
    return latest


def root_outputs(deployment: Deployment | None) -> Any:
    """The stack's typed export as stored (secrets still encrypted), or `None`."""
    for resource in (deployment or {}).get("resources") or ():
        if resource.get("type") == ROOT_TYPE:
            return (resource.get("outputs") or {}).get(EXPORT)
    return None


def salt_of(deployment: Deployment | None) -> str:
    """The passphrase provider's salt in a state, `""` for none or another provider."""
    provider = (deployment or {}).get("secrets_providers") or {}
    if provider.get("type") != "passphrase":
        return ""
    return str((provider.get("state") or {}).get("salt", ""))


def parse_state(stack: str, deployment: Deployment | None, outputs: Any, stored: bytes) -> StackState:
    """The state in `deployment`, with its export already decrypted."""
    found = deployment or {}
    return StackState(
        stack,
        tuple(_resource(item) for item in found.get("resources") or () if not item.get("delete")),
        tuple(
            PendingOperation(item["resource"]["urn"], item["type"]) for item in found.get("pending_operations") or ()
        ),
        outputs if isinstance(outputs, dict) else None,
        str((found.get("manifest") or {}).get("time", "")),
        hashlib.sha256(stored).hexdigest() if stored else "",
        deployment,
    )


def _resource(item: Mapping[str, Any]) -> StateResource:
    return StateResource(
        item["urn"],
        item.get("type") or type_of(item["urn"]),
        item.get("id", ""),
        bool(item.get("custom")),
        item.get("parent", ""),
        bool(item.get("protect")),
        item.get("inputs") or {},
        item.get("outputs") or {},
        tuple(item.get("initErrors") or ()),
    )


def plain(value: Any) -> Any:
    """A property value from an export made with secrets shown: the plaintext in place of each secret."""
    if isinstance(value, dict):
        if value.get(SIGNATURE) == SECRET:
            return json.loads(value["plaintext"]) if "plaintext" in value else None
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [plain(item) for item in value]
    return value
