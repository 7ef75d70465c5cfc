"""Volumes of pods in manifests."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from wecityctl.spec.checks.manifests.fields import (
    Checker,
    Path,
    Step,
    Table,
    choice,
    key,
    list_of,
    name,
    quantity,
    truth,
    whole,
)
from wecityctl.spec.checks.manifests.reasons import ACCOUNT, DATA, HOST, WIDE
from wecityctl.spec.checks.manifests.references import OF_METADATA, field_of_pod, let, maps, resource, secret
from wecityctl.spec.nodes import Map, shorten
from wecityctl.spec.translate import describe

_MODE = whole(0, 0o777, ": 420 is 0644, 256 is 0400")


def _inside(checker: Checker, path: Path, value: Any) -> None:
    parts = value.split("/") if isinstance(value, str) else ()
    if not parts or value.startswith("/") or not value or ".." in parts:
        checker.refuse(path, f"{describe(value)} is not a path in a volume", "such as app.conf or conf.d/app.conf")


_ITEMS = list_of(Table({"key": key, "path": _inside, "mode": _MODE}, ("key", "path")))
_DOWNWARD: Mapping[str, Step] = {
    "items": list_of(
        Table(
            {
                "path": _inside,
                "fieldRef": field_of_pod(*OF_METADATA, "metadata.labels", "metadata.annotations"),
                "resourceFieldRef": resource("containerName"),
                "mode": _MODE,
            },
            ("path",),
            one=("fieldRef", "resourceFieldRef"),
        )
    )
}
_FILES: Mapping[str, Step] = {"items": _ITEMS, "optional": truth}
_PROJECTED = {
    "configMap": Table({**_FILES, "name": name(253)}, ("name",)),
    "downwardAPI": Table(_DOWNWARD),
    "secret": Table({**_FILES, "name": let}, rules=(secret("name"),)),
}
_PROJECTION = Table(
    _PROJECTED,
    refused={"serviceAccountToken": ACCOUNT, "clusterTrustBundle": WIDE, "podCertificate": ACCOUNT},
    one=tuple(_PROJECTED),
)


def _paths(checker: Checker, path: Path, found: Map) -> None:
    """No two files of a volume are at the same path."""
    seen: dict[Any, Path] = {}
    for index, source in maps(found.get("sources")):
        for each, inner in source.items():
            for number, item in maps(inner.get("items") if isinstance(inner, Map) else None):
                if isinstance(item.get("path"), str):
                    here = (*path, "sources", index, each, "items", number, "path")
                    checker.once(seen, item["path"], here, f"path {shorten(item['path'])!r}")


_WITH_MODE: Mapping[str, Step] = {"defaultMode": _MODE}
_VOLUME_SOURCES: Mapping[str, Step] = {
    "configMap": Table({**_FILES, **_WITH_MODE, "name": name(253)}, ("name",)),
    "emptyDir": Table({"medium": choice("", "Memory"), "sizeLimit": quantity}),
    "downwardAPI": Table({**_DOWNWARD, **_WITH_MODE}),
    "projected": Table({"sources": list_of(_PROJECTION), **_WITH_MODE}, ("sources",), rules=(_paths,)),
    "secret": Table({**_FILES, **_WITH_MODE, "secretName": let}, rules=(secret("secretName"),)),
}
VOLUME = Table(
    {"name": name(), **_VOLUME_SOURCES},
    ("name",),
    {
        **dict.fromkeys(("persistentVolumeClaim", "ephemeral", "csi", "nfs", "iscsi"), DATA),
        **dict.fromkeys(("hostPath", "local"), HOST),
        "image": "files of another image are copied by an init container",
    },
    one=tuple(_VOLUME_SOURCES),
)
