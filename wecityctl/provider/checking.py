"""Normalises a resource's inputs (names, namespaces, `stringData` of Secrets) and rejects unsupported ones.

The state keeps what Check returns as inputs, so it is what the official plug-in would keep.
"""

from __future__ import annotations

import base64
import hashlib
import secrets
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from wecityctl.provider.annotations import AUTONAMED, is_true
from wecityctl.provider.kinds import Kind, kind_of_object, kind_of_token, refusal
from wecityctl.provider.properties import Secret, Unknown, contains_asset, mark_secrets, plain
from wecityctl.provider.state import READ_ONLY_METADATA, metadata_of, name_of

_DIGITS: Final = 8


@dataclass(frozen=True, slots=True)
class Naming:
    """How an object without a name gets one: the engine's naming options, and the seed that makes plans repeatable."""

    mode: Literal["default", "propose", "enforce", "disable"] = "default"
    proposed: str = ""
    seed: bytes = b""


@dataclass(frozen=True, slots=True)
class Checked:
    """The inputs as the state keeps them, and the problems as (property, reason)."""

    inputs: dict[str, Any]
    failures: tuple[tuple[str, str], ...] = ()


async def check(
    token: str,
    name: str,
    news: dict[str, Any],
    olds: Mapping[str, Any],
    *,
    namespace: str,
    namespaced: Callable[[Kind], Awaitable[bool]],
    naming: Naming,
) -> Checked:
    """Check the inputs of resource `name`.

    `namespace` is the default namespace; `namespaced` tells whether a kind is namespaced.
    """
    sentence = refusal(token)
    if sentence:
        return Checked(news, (("", sentence),))
    if contains_asset(news):
        return Checked(news, (("", "assets and archives cannot be part of a Kubernetes object"),))
    inputs = mark_secrets(_encode_string_data(_opened(news)), None)
    inputs = _drop_read_only(inputs)
    inputs, failures = _named(inputs, name, olds, naming)
    kind = kind_of_object(plain({k: inputs.get(k) for k in ("apiVersion", "kind")}), kind_of_token(token))
    if namespace and not _has_namespace(inputs) and await namespaced(kind):
        inputs = _with_metadata(inputs, namespace=namespace)
    return Checked(inputs, failures)


def _opened(news: dict[str, Any]) -> dict[str, Any]:
    # Metadata that is secret or unknown as a whole cannot be extended. A secret one is opened and its members read.
    metadata = news.get("metadata")
    if isinstance(metadata, Secret) and isinstance(metadata.value, dict):
        members = {k: v if isinstance(v, Secret) else Secret(v) for k, v in metadata.value.items()}
        return {**news, "metadata": members}
    return dict(news)


def _drop_read_only(inputs: dict[str, Any]) -> dict[str, Any]:
    metadata = inputs.get("metadata")
    if isinstance(metadata, dict) and not metadata.keys().isdisjoint(READ_ONLY_METADATA):
        kept = {key: value for key, value in metadata.items() if key not in READ_ONLY_METADATA}
        return {**inputs, "metadata": kept}
    return inputs


def _encode_string_data(inputs: dict[str, Any]) -> dict[str, Any]:
    if inputs.get("kind") != "Secret" or "stringData" not in inputs:
        return inputs
    result = {key: value for key, value in inputs.items() if key != "stringData"}
    texts, data = _open(inputs["stringData"]), _open(inputs.get("data") or {})
    if isinstance(texts, Unknown) or isinstance(data, Unknown):
        return {**result, "data": texts if isinstance(texts, Unknown) else data}
    encoded = {key: _base64(value) for key, value in texts.items()}
    return {**result, "data": {**data, **encoded}}


def _base64(value: Any) -> Any:
    text = _open(value)
    if isinstance(text, Unknown):
        return text
    if isinstance(text, bool):
        text = str(text).lower()
    return base64.b64encode(str(text).encode()).decode()


def _open(value: Any) -> Any:
    return value.value if isinstance(value, Secret) else value


def _has_namespace(inputs: Mapping[str, Any]) -> bool:
    metadata = _open(inputs.get("metadata"))
    # Metadata that is still unknown may contain a namespace.
    return isinstance(metadata, Unknown) or bool(isinstance(metadata, dict) and _open(metadata.get("namespace")))


def _with_metadata(inputs: dict[str, Any], **members: Any) -> dict[str, Any]:
    metadata = inputs.get("metadata")
    return {**inputs, "metadata": {**(metadata if isinstance(metadata, dict) else {}), **members}}


def _named(
    inputs: dict[str, Any], name: str, olds: Mapping[str, Any], naming: Naming
) -> tuple[dict[str, Any], tuple[tuple[str, str], ...]]:
    metadata = inputs.get("metadata")
    if isinstance(metadata, Unknown):
        return inputs, ()
    if isinstance(metadata, dict) and (metadata.get("name") or metadata.get("generateName")):
        return inputs, ()
    if name_of(olds) and is_true(olds, AUTONAMED):
        return _autonamed(inputs, name_of(olds)), ()
    if name_of(olds) and metadata_of(olds).get("generateName"):
        return inputs, ()
    if naming.mode == "disable":
        return inputs, (("metadata.name", "automatic naming is disabled, and the object has no name"),)
    if naming.mode in ("enforce", "propose") and naming.proposed:
        return _autonamed(inputs, naming.proposed), ()
    return _autonamed(inputs, f"{name}-{_suffix(naming.seed)}"), ()


def _autonamed(inputs: dict[str, Any], name: str) -> dict[str, Any]:
    metadata = inputs.get("metadata")
    annotations = metadata.get("annotations") if isinstance(metadata, dict) else None
    if annotations is not None and not isinstance(annotations, dict):
        return _with_metadata(inputs, name=name)
    return _with_metadata(inputs, name=name, annotations={**(annotations or {}), AUTONAMED: "true"})


def _suffix(seed: bytes) -> str:
    return hashlib.sha256(seed).hexdigest()[:_DIGITS] if seed else secrets.token_hex(_DIGITS // 2)
