"""Recorded stacks as manifests: a pure mapping from file names to YAML, in an order in which they can be applied.

Secret values come out as marks: a rendered city can be shown, compared and kept in a repository.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

import yaml

from wecityctl.graph import RecordedResource, Recording

# What others stand on comes first; whatever is not named here comes between.
_FIRST = ("Namespace", "PriorityClass", "ResourceQuota", "LimitRange", "NetworkPolicy", "ServiceAccount")
_LAST = ("Job", "StatefulSet", "Deployment", "HorizontalPodAutoscaler", "PodDisruptionBudget")


def render(recordings: Iterable[Recording]) -> dict[str, str]:
    """YAML by path: `<stack>/<number>-<kind>-<name>.yaml`, numbered in the order to apply."""
    files: dict[str, str] = {}
    for recording in recordings:
        for number, resource in enumerate(in_order(recording.resources), start=1):
            manifest = manifest_of(resource)
            name = re.sub(r"[^a-z0-9.-]+", "-", resource.name.lower())
            files[f"{recording.stack}/{number:03d}-{manifest['kind'].lower()}-{name}.yaml"] = to_yaml(manifest)
    return files


def in_order(resources: Iterable[RecordedResource]) -> list[RecordedResource]:
    """The Kubernetes objects among `resources`, each after those it depends on."""
    objects = [item for item in resources if item.is_kubernetes_object]
    return sorted(objects, key=lambda item: (_rank(item.type.rsplit(":", 1)[-1]), item.name))


def manifest_of(resource: RecordedResource) -> dict[str, Any]:
    """The manifest as the API server takes it, without what was left unset."""
    manifest = _without_none(dict(resource.inputs))
    head = {key: manifest.pop(key) for key in ("apiVersion", "kind", "metadata")}
    return {**head, **manifest}


def to_yaml(manifest: Mapping[str, Any]) -> str:
    """One document, keys in the usual order, Chinese as it is."""
    return yaml.dump(manifest, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=120)


def join(files: Mapping[str, str]) -> str:
    """All files as one stream, each under its name."""
    return "".join(f"---\n# {path}\n{text}" for path, text in files.items())


def _rank(kind: str) -> int:
    if kind in _FIRST:
        return _FIRST.index(kind)
    if kind in _LAST:
        return 100 + _LAST.index(kind)
    return 50


def _without_none(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_none(item) for key, item in value.items() if item is not None}
    if isinstance(value, list):
        return [_without_none(item) for item in value]
    return value


class _Dumper(yaml.SafeDumper):
    """Writes multi-line strings as blocks, which is how people read scripts."""


def _block(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = "|" if "\n" in text else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _block)
