"""Writes a Cloud as the text of a document, with remarks for the reader, and validates it."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import yaml

from wecityctl.errors import ConfigurationError, InvalidCityError, Problem
from wecityctl.importing.blocks import as_written, settings_of
from wecityctl.model.city import Cloud

SCHEMA_LINE = "# yaml-language-server: $schema=city.schema.json"
_WIDTH = 118


@dataclass(frozen=True, slots=True)
class Imported:
    """A Cloud for existing resources.

    `heading` begins the file. `remarks` are comments, by field of the spec or `pool <name>`. `notes` are for the user
    who runs the command.
    """

    cloud: Cloud
    heading: str
    remarks: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def file_name(self) -> str:
        return f"cloud-{self.cloud.name}.yaml"


def as_mapping(cloud: Cloud) -> dict[str, Any]:
    """The document as plain values, without defaults."""
    spec = {
        "provider": cloud.provider,
        cloud.provider: settings_of(cloud.settings if cloud.has_landing_zone else getattr(cloud, cloud.provider)),
        "region": cloud.region,
        "network": settings_of(cloud.network),
        "existing": settings_of(cloud.existing),
        "zones": list(cloud.zones),
        "pools": [_present(as_written(pool)) for pool in cloud.pools],
    }
    if cloud.has_landing_zone:
        spec["kubernetes"] = settings_of(cloud.kubernetes)
    return {
        "apiVersion": "wecity.dev/v1alpha1",
        "kind": "Cloud",
        "metadata": {"name": cloud.name},
        "spec": _present(spec),
    }


def as_text(imported: Imported) -> str:
    """The document as YAML with its comments. Raises `ConfigurationError` if it would be invalid."""
    text = "\n".join(_lines(imported)) + "\n"
    _check(imported, text)
    return text


def _present(values: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in values.items() if value not in ("", {}, [], (), False, None)}


def _lines(imported: Imported) -> Iterator[str]:
    document = as_mapping(imported.cloud)
    spec = document.pop("spec")
    yield SCHEMA_LINE
    yield from _comment(imported.heading, "")
    for key, value in document.items():
        yield f"{key}: {_flow(value)}"
    yield "spec:"
    for key, value in spec.items():
        if key == "pools":
            continue
        for remark in imported.remarks.get(key, ()):
            yield from _comment(remark, "  ")
        yield f"  {key}: {_flow(value)}"
    for key in sorted(set(imported.remarks) - set(spec)):
        if not key.startswith("pool "):
            for remark in imported.remarks[key]:
                yield from _comment(remark, "  ")
    yield from _pool_lines(spec.get("pools") or [], imported.remarks)


def _pool_lines(pools: list[dict[str, Any]], remarks: Mapping[str, tuple[str, ...]]) -> Iterator[str]:
    if not pools:
        return
    for remark in remarks.get("pools", ()):
        yield from _comment(remark, "  ")
    yield "  pools:"
    for pool in pools:
        for remark in remarks.get(f"pool {pool['name']}", ()):
            yield from _comment(remark, "    ")
        yield f"    - {_flow(pool)}"


def _flow(value: Any) -> str:
    text = yaml.safe_dump(value, default_flow_style=True, sort_keys=False, allow_unicode=True, width=10**6)
    return text.removesuffix("...\n").strip()


def _comment(text: str, indent: str) -> Iterator[str]:
    line = f"{indent}#"
    for word in text.split():
        if len(line) + 1 + len(word) > _WIDTH:
            yield line
            line = f"{indent}#"
        line += f" {word}"
    yield line


def _check(imported: Imported, text: str) -> None:
    """Load the document together with a minimal city with its zones, so that errors are found now."""
    from stacks.catalogue import load_catalogue
    from wecityctl.spec import load_city

    zones = [{"name": zone, "kind": "internet"} for zone in imported.cloud.zones]
    city = {
        "apiVersion": "wecity.dev/v1alpha1",
        "kind": "City",
        "metadata": {"name": "check"},
        "spec": {"domain": "check.example", "zones": zones},
    }
    with tempfile.TemporaryDirectory(prefix="wecity-import-") as directory:
        (Path(directory) / "city.yaml").write_text(yaml.safe_dump(city), encoding="utf-8")
        (Path(directory) / "cloud.yaml").write_text(text, encoding="utf-8")
        try:
            load_city(Path(directory), load_catalogue())
        except InvalidCityError as error:
            raise _refused(imported, error.problems) from error


def _refused(imported: Imported, problems: tuple[Problem, ...]) -> ConfigurationError:
    """Report problems by field: line numbers of a file that does not exist yet would be useless."""
    own = [replace(item, file=imported.file_name, line=0) for item in problems if item.file.endswith("cloud.yaml")]
    block = f"spec.{imported.cloud.provider}."
    settings = any(item.path.startswith(block) for item in own)
    return ConfigurationError(
        "the document would not be a valid one",
        details="\n".join(str(item) for item in own or problems),
        resolution="--set NAME=VALUE gives a setting of the vendor's block" if settings else "",
    )
