"""Generated cities of a wanted size, on simulated nodes."""

from __future__ import annotations

from pathlib import Path

import yaml

API_VERSION = "wecity.dev/v1alpha1"
# A tenant of this shape renders to about 44 objects, the rest of the city to about 75.
APPS_PER_TENANT = 2


def write_city(directory: Path, name: str, tenants: int) -> Path:
    """Write a city with `tenants` tenants of two apps each, one file for each tenant; the directory is returned."""
    directory.mkdir(parents=True, exist_ok=True)
    _write(directory / "city.yaml", _base(name))
    for number in range(tenants):
        _write(directory / f"tenant-{number:03d}.yaml", _tenant(number))
    return directory


def _write(path: Path, documents: list[dict[str, object]]) -> None:
    path.write_text(yaml.safe_dump_all(documents, allow_unicode=True, sort_keys=False))


def _base(name: str) -> list[dict[str, object]]:
    zones = ["internet", "extranet"]
    return [
        _document(
            "City",
            {"name": name},
            {
                "domain": f"{name}.gov.example",
                "zones": [
                    {"name": "internet", "kind": "internet"},
                    {"name": "extranet", "kind": "government-extranet"},
                ],
                "images": {"source": "upstream"},
            },
        ),
        _document(
            "Cloud",
            {"name": "main"},
            {
                "provider": "local",
                "local": {"nodes": "simulated"},
                "zones": zones,
                "pools": [
                    {
                        "name": "general",
                        "architecture": "amd64",
                        "nodes": 10,
                        "cpu": "64",
                        "memory": "256Gi",
                        "storage": "2Ti",
                    }
                ],
            },
        ),
        _document(
            "Platform",
            {"name": "application"},
            {
                "capabilities": [
                    {"name": "gateway"},
                    {"name": "postgresql"},
                    {"name": "cache"},
                    # Apps of the internet and of the extranet share no store.
                    {"name": "inner-postgresql", "type": "postgresql", "zone": "extranet"},
                    {"name": "inner-cache", "type": "cache", "zone": "extranet"},
                ]
            },
        ),
    ]


def _tenant(number: int) -> list[dict[str, object]]:
    tenant = f"bureau-{number:03d}"
    documents = [
        _document(
            "Tenant",
            {"name": tenant},
            {
                "title": f"Bureau {number}",
                "area": "digital-government",
                "quota": {"cpu": "40", "memory": "160Gi", "storage": "1Ti"},
                "admins": [f"admin-{number}@city.gov.example"],
            },
        )
    ]
    for index in range(APPS_PER_TENANT):
        zone, stores = ("extranet", "inner-") if index % 2 else ("internet", "")
        documents.append(
            _document(
                "App",
                {"name": f"app-{index}", "tenant": tenant},
                {
                    "stage": "published",
                    "zone": zone,
                    "dataClass": "L2",
                    "components": [
                        {
                            "name": "web",
                            "image": "docker.io/library/nginx:1.27",
                            "replicas": 2,
                            "port": 8080,
                            "resources": {"cpu": "100m", "memory": "128Mi"},
                            "files": {"/etc/app/app.conf": f"bureau: {number}\napp: {index}\n"},
                        }
                    ],
                    "uses": [
                        {"capability": f"{stores}postgresql", "as": "postgresql"},
                        {"capability": f"{stores}cache", "as": "cache"},
                    ],
                    "route": {"host": f"{tenant}-app-{index}", "path": "/"},
                },
            )
        )
    return documents


def _document(kind: str, metadata: dict[str, object], spec: dict[str, object]) -> dict[str, object]:
    return {"apiVersion": API_VERSION, "kind": kind, "metadata": metadata, "spec": spec}
