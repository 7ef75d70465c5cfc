"""The input of the checks: the readable parts of a city, each with its document, before they become a `City`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Generic, TypeVar

from wecityctl.errors import Problem
from wecityctl.model.catalogue import Catalogue
from wecityctl.model.city import App, Capability, City, Cloud, Component, Platform, Tenant, Waiver
from wecityctl.model.environments import PRODUCTION
from wecityctl.model.lifecycle import Lifecycle
from wecityctl.spec.nodes import Document, PathItem, SourceLocation, format_path

Part = TypeVar("Part", City, Cloud, Platform, Tenant, App, Waiver, Lifecycle)


@dataclass(frozen=True, slots=True)
class Sourced(Generic[Part]):
    """A part of the model with the document that declares it."""

    value: Part
    document: Document

    def place(self, *path: PathItem, on_key: bool = False) -> SourceLocation:
        return self.document.place(path, on_key=on_key)

    def has(self, *path: PathItem) -> bool:
        """Whether the document itself has a value at `path`."""
        return self.document.has(path)

    def problem(
        self,
        path: tuple[PathItem, ...],
        message: str,
        expected: str = "",
        suggestion: str = "",
        *,
        on_key: bool = False,
    ) -> Problem:
        place = self.document.place(path, on_key=on_key)
        return Problem(place.file, place.line, place.column, format_path(path), message, expected, suggestion)


@dataclass(frozen=True, slots=True)
class SourcedManifest:
    """A Kubernetes manifest with the document that names its file, and the index of the file under `manifests`.

    `owner` is the platform, or the app under the name that it has in the clusters.
    """

    source: Sourced[App] | Sourced[Platform]
    owner: App | Platform
    index: int
    document: Document


@dataclass(frozen=True)
class ParsedCity:
    """The parts of a city in file order.

    `unread` names the kinds of which at least one document could not be read; references to these kinds are not
    reported, because the target may exist. A valid city has one entry in `cities`, which holds only what the City
    document itself declares. The value of an app or a platform has those of its manifests that have no problem of their
    own.
    """

    catalogue: Catalogue
    cities: tuple[Sourced[City], ...]
    clouds: tuple[Sourced[Cloud], ...]
    platforms: tuple[Sourced[Platform], ...]
    tenants: tuple[Sourced[Tenant], ...]
    apps: tuple[Sourced[App], ...]
    waivers: tuple[Sourced[Waiver], ...]
    lifecycles: tuple[Sourced[Lifecycle], ...]
    documents: tuple[Document, ...]
    unread: frozenset[str] = frozenset()
    manifests: tuple[SourcedManifest, ...] = ()
    environment: str = PRODUCTION

    @property
    def city(self) -> Sourced[City] | None:
        return self.cities[0] if self.cities else None

    def knows_all(self, *kinds: str) -> bool:
        """Whether all documents of these kinds could be read."""
        return self.unread.isdisjoint(kinds)

    @cached_property
    def zone_names(self) -> tuple[str, ...]:
        return tuple(zone.name for zone in self.city.value.zones) if self.city is not None else ()

    @cached_property
    def cloud_by_name(self) -> dict[str, Cloud]:
        return {cloud.value.name: cloud.value for cloud in self.clouds}

    @cached_property
    def capability_by_name(self) -> dict[str, Capability]:
        return {item.name: item for platform in self.platforms for item in platform.value.capabilities}

    @cached_property
    def app_by_name(self) -> dict[tuple[str, str], App]:
        """The apps by tenant and name."""
        return {(app.value.tenant, app.value.name): app.value for app in self.apps}

    def components(self) -> Iterator[tuple[Sourced[App], tuple[PathItem, ...], Component]]:
        """Yield every component with its app and its path in the document."""
        for app in self.apps:
            for index, part in enumerate(app.value.components):
                yield app, ("spec", "components", index), part

    def capabilities(self) -> Iterator[tuple[Sourced[Platform], tuple[PathItem, ...], Capability]]:
        """Yield every capability with its platform and its path in the document."""
        for platform in self.platforms:
            for index, item in enumerate(platform.value.capabilities):
                yield platform, ("spec", "capabilities", index), item
