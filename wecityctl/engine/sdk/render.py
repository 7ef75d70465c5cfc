"""Renders recorded stacks as manifests: a pure mapping from file names to YAML, in an order in which they can be
applied.

Secret values appear as marks, so a rendered city can be shown, compared and committed.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

import yaml

from wecityctl.resource_graph import RecordedResource, Recording

# Kinds that others depend on come first; kinds that are not listed come in between.
_FIRST = ("Namespace", "PriorityClass", "ResourceQuota", "LimitRange", "NetworkPolicy", "ServiceAccount")
_HEADS = ("name", "namespace")
_LAST = ("Job", "StatefulSet", "Deployment", "HorizontalPodAutoscaler", "PodDisruptionBudget")


def render(recordings: Iterable[Recording]) -> dict[str, str]:
    """Return YAML by path: `<stack>/<number>-<kind>-<name>.yaml`, numbered in the order to apply."""
    files: dict[str, str] = {}
    for recording in recordings:
        for number, resource in enumerate(in_order(recording.resources), start=1):
            manifest = manifest_of(resource)
            name = re.sub(r"[^a-z0-9.-]+", "-", resource.name.lower())
            files[f"{recording.stack}/{number:03d}-{manifest['kind'].lower()}-{name}.yaml"] = to_yaml(manifest)
    return files


def in_order(resources: Iterable[RecordedResource]) -> list[RecordedResource]:
    """Return the Kubernetes objects among `resources`, ordered by kind so that dependencies come first."""
    objects = [item for item in resources if item.is_kubernetes_object]
    return sorted(objects, key=lambda item: (_rank(item.type.rsplit(":", 1)[-1]), item.name, item.urn))


def manifest_of(resource: RecordedResource) -> dict[str, Any]:
    """Return the manifest for the API server, without unset fields."""
    manifest = _tidy(dict(resource.inputs))
    head = {key: manifest.pop(key) for key in ("apiVersion", "kind", "metadata")}
    return {**head, **manifest}


def to_yaml(manifest: Mapping[str, Any]) -> str:
    """Return one YAML document with keys in the order of the mapping and non-ASCII text unescaped."""
    return yaml.dump(manifest, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=120)


def join(files: Mapping[str, str]) -> str:
    """Return all files as one YAML stream, each preceded by its path in a comment."""
    return "".join(f"---\n# {path}\n{text}" for path, text in files.items())


def _rank(kind: str) -> int:
    if kind in _FIRST:
        return _FIRST.index(kind)
    if kind in _LAST:
        return 100 + _LAST.index(kind)
    return 50


def _tidy(value: Any) -> Any:
    """Remove unset fields and sort keys, with name and namespace first."""
    if isinstance(value, dict):
        keys = sorted((key for key in value if value[key] is not None), key=_place)
        return {key: _tidy(value[key]) for key in keys}
    if isinstance(value, list):
        return [_tidy(item) for item in value]
    return value


def _place(key: str) -> tuple[int, str]:
    return (_HEADS.index(key) if key in _HEADS else len(_HEADS), key)


class _Dumper(yaml.SafeDumper):
    """Writes multi-line strings as block scalars, for readability."""


def _block(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = "|" if "\n" in text else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _block)
