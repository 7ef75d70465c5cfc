"""The schema of API kinds: list types, map keys and quantities, from the API server's OpenAPI v3 documents.

`Schema` is pure; `Schemas` loads it. Callers decide what a difference means.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias
from urllib.parse import parse_qs, urlsplit

from wecityctl import paths
from wecityctl.errors import WecityError

ListType = Literal["atomic", "map", "set"]
Steps: TypeAlias = tuple[str | int, ...]
Request: TypeAlias = Callable[[str, Mapping[str, str]], Awaitable[dict[str, Any]]]

_REFERENCE: Final = "#/components/schemas/"
_QUANTITY: Final = "io.k8s.apimachinery.pkg.api.resource.Quantity"
_NOWHERE: Final[Mapping[str, Any]] = {}
_FORMAT: Final = 1  # of the documents on disk


@dataclass(frozen=True, slots=True)
class Schema:
    """The schema of one kind, or of a part of it.

    Every method takes a path from here: keys of objects and indexes of lists, such as `("spec", "containers", 0,
    "env")`. Without information in the schema, the API server's defaults apply: a list is atomic, and nothing is a
    quantity.
    """

    definitions: Mapping[str, Any] = field(default_factory=dict, repr=False)
    node: Mapping[str, Any] = field(default_factory=dict)

    @property
    def known(self) -> bool:
        """Whether the API server describes this part at all."""
        return bool(self.node)

    def at(self, *path: str | int) -> Schema:
        """The part at that path."""
        node = self.node
        for step in path:
            if isinstance(step, int):
                node = node.get("items", _NOWHERE)
            else:
                node = node.get("fields", _NOWHERE).get(step) or node.get("values", _NOWHERE)
            while "ref" in node:
                node = self.definitions.get(node["ref"], _NOWHERE)
        return Schema(self.definitions, node)

    def list_type(self, path: Steps = ()) -> ListType:
        """How server-side apply merges the list: atomically, by its elements' keys, or as a set of values."""
        found: ListType = self.at(*path).node.get("list", "atomic")
        return found

    def list_keys(self, path: Steps = ()) -> tuple[str, ...]:
        """The fields that identify an element of the list; empty for other lists."""
        return tuple(self.at(*path).node.get("keys", ()))

    def element_key(self, element: Any, path: Steps = ()) -> tuple[Any, ...] | None:
        """The key values that identify `element` in the list at `path`, with defaults; None for a list without keys."""
        here = self.at(*path)
        keys = here.list_keys()
        if not keys or not isinstance(element, Mapping):
            return None
        return tuple(element.get(key, here.at(0, key).node.get("default")) for key in keys)

    def is_quantity(self, path: Steps = ()) -> bool:
        """Whether the value is a resource.Quantity, so that "1000m" and "1" are the same."""
        return self.at(*path).node.get("quantity") is True

    def is_atomic(self, path: Steps = ()) -> bool:
        """Whether the list or object is owned as a whole by one manager."""
        node = self.at(*path).node
        return node.get("map") == "atomic" or ("items" in node and node.get("list", "atomic") == "atomic")


class Schemas:
    """The schemas of one API server. Documents are fetched on demand and cached on disk by their hash."""

    def __init__(self, server: str, request: Request) -> None:
        self._request = request
        self._directory = paths.cache_dir() / "openapi" / hashlib.sha256(server.encode()).hexdigest()[:16]
        self._documents: dict[str, dict[str, Any]] = {}
        self._lock = asyncio.Lock()

    async def find(self, api_version: str, kind: str) -> Schema:
        """The schema of a kind; an empty one if the API server does not describe the kind or does not answer."""
        place = f"apis/{api_version}" if "/" in api_version else f"api/{api_version}"
        async with self._lock:
            found = self._documents.get(place)
            if found is None or kind not in found["kinds"]:  # its definition may be newer than the document
                try:
                    found = await self._load(place)
                except WecityError:
                    return Schema()
                self._documents[place] = found
        name = found["kinds"].get(kind)
        return Schema(found["definitions"], found["definitions"].get(name, _NOWHERE))

    async def _load(self, place: str) -> dict[str, Any]:
        index = (await self._request("/openapi/v3", {})).get("paths") or {}
        address = urlsplit(str((index.get(place) or {}).get("serverRelativeURL") or ""))
        if not address.path:
            return {"kinds": {}, "definitions": {}}
        version = parse_qs(address.query).get("hash", [""])[0]
        file = self._directory / (place.replace("/", "_") + ".json")
        kept = _read(file, version)
        if kept is None:
            kept = digest(await self._request(address.path, {"hash": version} if version else {}))
            if version:
                _write(file, {**kept, "hash": version, "format": _FORMAT})
        return kept


def digest(document: Mapping[str, Any]) -> dict[str, Any]:
    """The parts of an OpenAPI document that `Schema` needs: `kinds` (kind → definition) and `definitions`."""
    found = (document.get("components") or {}).get("schemas") or {}
    kinds = {
        str(served.get("kind")): name
        for name, schema in found.items()
        for served in schema.get("x-kubernetes-group-version-kind") or ()
    }
    return {"kinds": kinds, "definitions": {name: _node(schema, name) for name, schema in found.items()}}


def _node(schema: Mapping[str, Any], name: str = "") -> dict[str, Any]:
    reference = schema.get("$ref") or next((part["$ref"] for part in schema.get("allOf") or () if "$ref" in part), "")
    if reference:
        return {"ref": str(reference).removeprefix(_REFERENCE)}
    node: dict[str, Any] = {"quantity": True} if name == _QUANTITY else {}
    default = schema.get("default")
    if isinstance(default, str | int | float):
        node["default"] = default
    if isinstance(schema.get("properties"), dict):
        node["fields"] = {key: _node(value) for key, value in schema["properties"].items()}
    if isinstance(schema.get("additionalProperties"), dict):
        node["values"] = _node(schema["additionalProperties"])
    if isinstance(schema.get("items"), dict):
        node["items"] = _node(schema["items"])
    if schema.get("x-kubernetes-list-type"):
        node["list"] = schema["x-kubernetes-list-type"]
    keys = schema.get("x-kubernetes-list-map-keys") or [schema.get("x-kubernetes-patch-merge-key")]
    if keys[0] and schema.get("x-kubernetes-list-type", "map") == "map":
        node["keys"] = keys
    if schema.get("x-kubernetes-map-type"):
        node["map"] = schema["x-kubernetes-map-type"]
    return node


def _read(file: Path, version: str) -> dict[str, Any] | None:
    try:
        found = json.loads(file.read_bytes())
    except (OSError, ValueError):
        return None
    fresh = isinstance(found, dict) and found.get("hash") == version and found.get("format") == _FORMAT
    return found if fresh and version else None


def _write(file: Path, document: Mapping[str, Any]) -> None:
    try:
        paths.write_private(file, json.dumps(document, separators=(",", ":")).encode())
    except OSError:
        return  # it is fetched again next time
