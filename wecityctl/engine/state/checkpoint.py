"""A stack's state as values, parsed from a checkpoint or an export, wherever it is stored."""

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
    """One resource of a state. `inputs` and `outputs` keep secrets encrypted (or masked, as the
    store returned them).
    """

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
    """An operation that the engine was executing when it was killed: creating, updating, deleting, reading or
    importing.
    """

    urn: str
    type: str


@dataclass(frozen=True, slots=True)
class StackState:
    """A stack's state. `outputs` is its one typed export as JSON, decrypted; `None` before the first run.

    `last_update` is an RFC 3339 time; `digest` is the SHA-256 of the stored state, `""` if the store does not expose
    it.
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
        """Whether only the root and providers are left."""
        return all(resource.type == ROOT_TYPE or resource.is_provider for resource in self.resources)


def deployment_in(text: bytes | str) -> Deployment | None:
    """Return the deployment in a stored checkpoint; `None` for a stack that was created and never run.

    Raises `ValueError` if it is not a checkpoint: JSON of another structure is a damaged state, not an empty one.
    """
    return deployment_of(json.loads(text))


def deployment_of(data: Any) -> Deployment | None:
    """Do the same as `deployment_in` for parsed JSON. Raises `ValueError`."""
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
    """Return the stack's typed export as stored (secrets still encrypted); `None` for none."""
    for resource in (deployment or {}).get("resources") or ():
        if resource.get("type") == ROOT_TYPE:
            return (resource.get("outputs") or {}).get(EXPORT)
    return None


def salt_of(deployment: Deployment | None) -> str:
    """Return the passphrase provider's salt in a state; `""` for none or another provider."""
    provider = (deployment or {}).get("secrets_providers") or {}
    if provider.get("type") != "passphrase":
        return ""
    return str((provider.get("state") or {}).get("salt", ""))


def parse_state(stack: str, deployment: Deployment | None, outputs: Any, stored: bytes) -> StackState:
    """Return the state in `deployment`; `outputs` is its export, already decrypted."""
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
    """Return a property value of an export with `--show-secrets`, with the plain text in place of each secret."""
    if isinstance(value, dict):
        if value.get(SIGNATURE) == SECRET:
            return json.loads(value["plaintext"]) if "plaintext" in value else None
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [plain(item) for item in value]
    return value
