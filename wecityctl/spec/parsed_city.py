"""What the checks look at: the parts that could be read, each with its document, before a city is made of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Generic, TypeVar

from wecityctl.errors import Problem
from wecityctl.model.catalogue import Catalogue
from wecityctl.model.city import App, Capability, City, Cloud, Platform, Tenant, Waiver
from wecityctl.spec.nodes import Document, PathItem, SourceLocation, format_path

Part = TypeVar("Part", City, Cloud, Platform, Tenant, App, Waiver)


@dataclass(frozen=True, slots=True)
class Sourced(Generic[Part]):
    """A part of the model and the document that declares it."""

    value: Part
    document: Document

    def place(self, *path: PathItem, on_key: bool = False) -> SourceLocation:
        return self.document.place(path, on_key=on_key)

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


@dataclass(frozen=True)
class ParsedCity:
    """All parts in file order. `unread` names the kinds of which a document could not be read: what refers to one
    of those is not reported, since it may well be there. `cities` has at most one entry in a good city; its value
    has only what the City document itself says.
    """

    catalogue: Catalogue
    cities: tuple[Sourced[City], ...]
    clouds: tuple[Sourced[Cloud], ...]
    platforms: tuple[Sourced[Platform], ...]
    tenants: tuple[Sourced[Tenant], ...]
    apps: tuple[Sourced[App], ...]
    waivers: tuple[Sourced[Waiver], ...]
    documents: tuple[Document, ...]
    unread: frozenset[str] = frozenset()

    @property
    def city(self) -> Sourced[City] | None:
        return self.cities[0] if self.cities else None

    def knows_all(self, *kinds: str) -> bool:
        """Whether every document of these kinds could be read."""
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

    def capabilities(self) -> Iterator[tuple[Sourced[Platform], tuple[PathItem, ...], Capability]]:
        """Every capability with its platform and its path there."""
        for platform in self.platforms:
            for index, item in enumerate(platform.value.capabilities):
                yield platform, ("spec", "capabilities", index), item
