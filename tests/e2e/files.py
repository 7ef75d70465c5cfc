"""A city's files under test: the example under another name, or a small city; changed as a department would."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

EXAMPLE = Path(__file__).parents[2] / "examples" / "xingcheng"
Document = dict[str, Any]


@dataclass(slots=True)
class CityFiles:
    """The documents by file name; `save` writes what has changed, `directory` is what the command line gets."""

    directory: Path
    files: dict[str, list[Document]]

    def __fspath__(self) -> str:
        return str(self.directory)

    def __str__(self) -> str:
        return str(self.directory)

    def save(self) -> CityFiles:
        self.directory.mkdir(parents=True, exist_ok=True)
        for name, documents in self.files.items():
            text = yaml.safe_dump_all(documents, allow_unicode=True, sort_keys=False)
            (self.directory / name).write_text(text)
        return self

    def documents(self, kind: str) -> Iterator[Document]:
        return (item for documents in self.files.values() for item in documents if item["kind"] == kind)

    def one(self, kind: str, name: str) -> Document:
        return next(item for item in self.documents(kind) if item["metadata"]["name"] == name)

    @property
    def name(self) -> str:
        return str(next(self.documents("City"))["metadata"]["name"])

    @property
    def cloud(self) -> Document:
        return next(self.documents("Cloud"))

    def component(self, app: str) -> Document:
        found: Document = self.one("App", app)["spec"]["components"][0]
        return found

    def add(self, file: str, *documents: Document) -> None:
        self.files.setdefault(file, []).extend(documents)

    def remove(self, kind: str, name: str) -> Document:
        gone = self.one(kind, name)
        for documents in self.files.values():
            documents[:] = [item for item in documents if item is not gone]
        return gone

    def copy(self, directory: Path) -> CityFiles:
        return CityFiles(directory, copy.deepcopy(self.files))


def read(directory: Path) -> CityFiles:
    """The city of the files in `directory`; what lies in directories below it stays as it is."""
    files = {path.name: list(yaml.safe_load_all(path.read_text())) for path in sorted(directory.glob("*.yaml"))}
    return CityFiles(directory, files)


def example(directory: Path, name: str, nodes: str) -> CityFiles:
    """The example city under another name, on real or simulated nodes."""
    city = CityFiles(directory, read(EXAMPLE).files)
    next(city.documents("City"))["metadata"]["name"] = name
    city.cloud["spec"]["local"] = {"nodes": nodes}
    return city.save()


def document(kind: str, name: str, spec: Document, **metadata: str) -> Document:
    return {"apiVersion": "wecity.dev/v1alpha1", "kind": kind, "metadata": {"name": name, **metadata}, "spec": spec}


def app(name: str, tenant: str, *, uses: tuple[Any, ...] = (), replicas: int = 1) -> Document:
    """A published app of one component with a route of its own."""
    component = {
        "name": "web",
        "image": "catalogue:sample-app",
        "replicas": replicas,
        "port": 8080,
        "resources": {"cpu": "20m", "memory": "64Mi"},
        "health": {"path": "/healthz"},
    }
    spec = {
        "stage": "published",
        "zone": "internet",
        "dataClass": "L1",
        "channels": ["web"],
        "components": [component],
        "uses": list(uses),
        "route": {"host": name, "path": "/"},
    }
    return document("App", name, spec, tenant=tenant)


def tenant(name: str) -> Document:
    quota = {"cpu": "2", "memory": "4Gi", "storage": "10Gi"}
    return document("Tenant", name, {"title": name, "area": "digital-government", "quota": quota})


def hamlet(
    directory: Path, name: str, cloud: Document, *, backend: str = "", tenants: tuple[str, ...] = ("parks",)
) -> CityFiles:
    """A small city: a gateway and a cache, tenants with one app each. `cloud` is the Cloud's spec but for its zones."""
    city: Document = {
        "domain": f"{name}.gov.example",
        "zones": [{"name": "internet", "kind": "internet"}],
        "images": {"source": "built", "architectures": ["amd64"]},
    }
    if backend:
        city["state"] = {"backend": backend}
    files = {
        "city.yaml": [
            document("City", name, city),
            document("Cloud", "main", {**cloud, "zones": ["internet"]}),
            document(
                "Platform", "application", {"capabilities": [{"name": "gateway"}, {"name": "cache", "storage": "1Gi"}]}
            ),
        ],
    }
    for each in tenants:
        files[f"{each}.yaml"] = [
            tenant(each),
            app(f"{each}-app", each, uses=({"capability": "cache", "as": "store"},)),
        ]
    return CityFiles(directory, files).save()


SIMULATED: Document = {
    "provider": "local",
    "local": {"nodes": "simulated"},
    "pools": [
        {"name": "general", "architecture": "amd64", "nodes": 2, "cpu": "16", "memory": "64Gi", "storage": "1Ti"}
    ],
}
