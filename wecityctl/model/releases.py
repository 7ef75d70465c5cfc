"""What is recorded of an app: its last releases, and a rollout by canary that is under way. Pure.

A release by canary is of one component, the one that the app's route leads to; any other is of all components but those
that run before a release. What is compared between releases is what pods are made of (`version_of`): another number of
replicas is no new version.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import MISSING, dataclass, fields, is_dataclass, replace
from functools import cache
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from wecityctl.model.city import App, Component
from wecityctl.model.registries import recorded_image, resolve_image

KEPT = 10
FORMAT = 1
# The year 2286 in seconds since 1970.
_LATEST = 10**10
# `starting`: a step is being made. `pausing`: it serves its share of the requests. `finishing`: the new version takes
# the old one's place. `withdrawing`: the canary gets no more requests. `removing`: its pods go.
Phase = Literal["starting", "pausing", "finishing", "withdrawing", "removing"]
# What comes of a rollout whose canary is removed.
Outcome = Literal["", "released", "aborted", "reverted"]
HeldBecause = Literal["aborted", "undone"]
# What a rollout does not compare: these fields are those of the files at any time.
_UNVERSIONED = ("replicas", "autoscale", "strategy", "architectures", "declared", "canary")


@dataclass(frozen=True, slots=True)
class Part:
    """A component of a release. `image` is the full reference.

    `image_digest` is what its pods ran, as `sha256:…`; empty if unknown.
    """

    component: Component
    image: str
    image_digest: str = ""


@dataclass(frozen=True, slots=True)
class Release:
    """A version that all pods ran.

    `at` is in RFC 3339; `of` is the number of the release that it brought back, or 0.
    """

    number: int
    at: str
    by: str
    version: str
    parts: tuple[Part, ...]
    of: int = 0

    @property
    def images(self) -> str:
        """The images of its components, each once, for people."""
        return ", ".join(dict.fromkeys(part.image for part in self.parts))

    def part(self, component: str) -> Part | None:
        """The part that is the component of this name."""
        return next((part for part in self.parts if part.component.name == component), None)

    def version_for(self, component: str) -> str:
        """The version of one of its components; empty if it does not have it."""
        part = self.part(component)
        return version_of(part.component, {}) if part is not None else ""


@dataclass(frozen=True, slots=True)
class Held:
    """A version in the files that is not tried (again): an aborted one, or one that was undone.

    `image` is the full reference; several are separated by commas.
    """

    version: str
    image: str
    because: HeldBecause
    why: str
    at: str


@dataclass(frozen=True, slots=True)
class Rollout:
    """A canary that is under way. `step` counts from 1; `since` is in seconds since 1970, when the phase began.

    `is_live`: the entry point may send requests to it. `why` and `outcome` are those of one that ends.
    """

    version: str
    image: str
    component: Component
    step: int
    phase: Phase
    since: float
    by: str
    is_live: bool = False
    outcome: Outcome = ""
    why: str = ""


@dataclass(frozen=True, slots=True)
class AppReleases:
    """The record of one app. `generation` grows with each change, so that two runs notice each other.

    `component` is the one that is released by canary; empty for an app without one. `releases` are the last `KEPT`,
    oldest first; the last one serves the requests.
    """

    tenant: str
    app: str
    component: str
    generation: int = 0
    releases: tuple[Release, ...] = ()
    rollout: Rollout | None = None
    held: Held | None = None

    @property
    def current(self) -> Release | None:
        """The release that serves."""
        return self.releases[-1] if self.releases else None

    def released(self, release: Release) -> AppReleases:
        """The record with one more release, which gets the next number."""
        number = self.releases[-1].number + 1 if self.releases else 1
        kept = (*self.releases, replace(release, number=number))[-KEPT:]
        return replace(self, releases=kept, rollout=None)

    def replaced(self, release: Release) -> AppReleases:
        """The record with the last release said in another way: the same one, of more or fewer of its components."""
        *older, last = self.releases
        same = replace(release, number=last.number, at=last.at, by=last.by, of=last.of)
        return replace(self, releases=(*older, same))


def version_of(component: Component, images: Mapping[str, str]) -> str:
    """The digest of what the component's pods are made of. `images` are the references of catalogue images."""
    content = {key: value for key, value in _plain(component).items() if key not in _UNVERSIONED}
    content["image"] = resolve_image(component.image, images, "")
    # A volume that grows changes no pod.
    content["volumes"] = [(volume.name, volume.path) for volume in component.volumes]
    text = json.dumps(content, sort_keys=True, ensure_ascii=False)
    return f"sha256:{hashlib.sha256(text.encode('utf-8', 'surrogatepass')).hexdigest()}"


def released_parts(app: App) -> tuple[Component, ...]:
    """The components that a release of an app without a canary has: a migration is not undone with what needed it."""
    return tuple(part for part in app.components if part.run is None and part.canary is None)


def version_of_all(parts: Iterable[Component], images: Mapping[str, str]) -> str:
    """The digest of what the pods of several components are made of; of a single one, it is that of `version_of`."""
    versions = sorted(version_of(part, images) for part in parts)
    if len(versions) == 1:
        return versions[0]
    return f"sha256:{hashlib.sha256(' '.join(versions).encode()).hexdigest()}"


def fixed(component: Component, images: Mapping[str, str]) -> Component:
    """The component as a record keeps it: with the full reference of a catalogue image, and nothing of a rollout."""
    return replace(component, image=recorded_image(component.image, images), canary=None, declared=None)


def to_text(records: Iterable[AppReleases]) -> str:
    """The records of a tenant's apps as JSON."""
    apps = [_written(record) for record in sorted(records, key=lambda item: item.app)]
    return json.dumps({"format": FORMAT, "apps": apps}, ensure_ascii=False, indent=1) + "\n"


def from_text(text: str, *, heads: bool = False) -> tuple[AppReleases, ...]:
    """Parse the records of a tenant's apps. Raises `ValueError` for what this version does not understand.

    With `heads`, records of apps without a canary have their last release only: enough to run, not to be written.
    """
    data = json.loads(text)
    if not isinstance(data, dict) or data.get("format") != FORMAT or not isinstance(data.get("apps"), list):
        raise ValueError("its format is that of another version")
    return tuple(_record(_head(item) if heads else item) for item in data["apps"])


def _head(data: Any) -> Any:
    if not isinstance(data, dict) or data.get("component") or not isinstance(data.get("releases"), list):
        return data
    return data | {"releases": data["releases"][-1:]}


def _record(data: Any) -> AppReleases:
    found = _built(AppReleases, data)
    assert isinstance(found, AppReleases)
    rollout = found.rollout
    if rollout is not None and not (rollout.step > 0 and 0 <= rollout.since < _LATEST):
        raise ValueError("it has a step or a time that cannot be")
    return found


def _plain(component: Component) -> dict[str, Any]:
    """The component's fields that differ from their defaults, so that a field of a later version changes no digest."""
    stated = ((name, getattr(component, name), default) for name, default in _defaults(Component))
    return {name: _whole(value) for name, value, default in stated if value != default}


def _whole(value: Any) -> Any:
    """A value with all fields of dataclasses in it."""
    if is_dataclass(value) and not isinstance(value, type):
        return {name: _whole(getattr(value, name)) for name, _ in _defaults(type(value))}
    if isinstance(value, tuple):
        return [_whole(item) for item in value]
    return dict(value) if isinstance(value, Mapping) else value


def _written(value: Any) -> Any:
    """A value as JSON has it: of a record only the fields that differ from their defaults."""
    if is_dataclass(value) and not isinstance(value, type):
        stated = ((name, getattr(value, name), default) for name, default in _defaults(type(value)))
        return {name: _written(item) for name, item, default in stated if item != default}
    if isinstance(value, tuple):
        return [_written(item) for item in value]
    return dict(value) if isinstance(value, Mapping) else value


@cache
def _defaults(kind: type[Any]) -> tuple[tuple[str, Any], ...]:
    """The fields of a dataclass with their defaults, `MISSING` for none."""
    return tuple(
        (item.name, item.default if item.default_factory is MISSING else item.default_factory())
        for item in fields(kind)
    )


@cache
def _hints(kind: type[Any]) -> Mapping[str, Any]:
    """The types of a dataclass's fields."""
    return get_type_hints(kind)


def _built(hint: Any, value: Any) -> Any:
    """The value of a type hint, from what JSON has: dataclasses, tuples, mappings, options and plain values."""
    origin, inner = get_origin(hint), get_args(hint)
    if origin in (Union, UnionType):
        if value is None:
            return None
        return _built(next(each for each in inner if each is not NoneType), value)
    if isinstance(hint, type) and is_dataclass(hint):
        if not isinstance(value, dict):
            raise ValueError(f"{hint.__name__} is no object")
        hints = _hints(hint)
        if not set(value) <= set(hints):
            raise ValueError(f"{hint.__name__} has unknown fields: {', '.join(sorted(set(value) - set(hints)))}")
        try:
            return hint(**{name: _built(hints[name], item) for name, item in value.items()})
        except TypeError as error:
            raise ValueError(str(error)) from None
    if origin is tuple:
        if not isinstance(value, list):
            raise ValueError("a list is missing")
        return tuple(_built(inner[0], item) for item in value)
    if isinstance(origin, type) and issubclass(origin, Mapping):
        if not isinstance(value, dict):
            raise ValueError("a mapping is missing")
        return {key: _built(inner[1], item) for key, item in value.items()}
    if hint is float and isinstance(value, int):
        return float(value)
    if origin is Literal:
        if value not in inner:
            raise ValueError(f"{value!r} is none of {', '.join(map(str, inner))}")
    elif isinstance(hint, type) and not isinstance(value, hint):
        raise ValueError(f"{value!r} is no {hint.__name__}")
    return value
