"""What is recorded of an app that is released by canary: its last releases, and a rollout that is under way. Pure.

A record is of one component, the one that the app's route leads to. What is compared between releases is what its pods
are made of (`version_of`): another number of replicas is no new version.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import MISSING, asdict, dataclass, fields, is_dataclass, replace
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from wecityctl.model.city import Component
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
class Release:
    """A version that has served all requests. `at` is in RFC 3339; `image` is the full reference.

    `image_digest` is what its pods ran, as `sha256:…`; empty if unknown. `of` is the number of the release that it
    brought back, or 0.
    """

    number: int
    at: str
    by: str
    version: str
    image: str
    component: Component
    image_digest: str = ""
    of: int = 0


@dataclass(frozen=True, slots=True)
class Held:
    """A version in the files that is not tried (again): an aborted one, or one that was undone."""

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

    `releases` are the last `KEPT`, oldest first; the last one serves the requests.
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


def version_of(component: Component, images: Mapping[str, str]) -> str:
    """The digest of what the component's pods are made of. `images` are the references of catalogue images."""
    content = {key: value for key, value in _plain(component).items() if key not in _UNVERSIONED}
    content["image"] = resolve_image(component.image, images, "")
    text = json.dumps(content, sort_keys=True, ensure_ascii=False)
    return f"sha256:{hashlib.sha256(text.encode('utf-8', 'surrogatepass')).hexdigest()}"


def fixed(component: Component, images: Mapping[str, str]) -> Component:
    """The component as a record keeps it: with the full reference of a catalogue image, and nothing of a rollout."""
    return replace(component, image=recorded_image(component.image, images), canary=None, declared=None)


def to_text(record: AppReleases) -> str:
    """The record as JSON."""
    return json.dumps({"format": FORMAT, **asdict(record)}, ensure_ascii=False, indent=1) + "\n"


def from_text(text: str) -> AppReleases:
    """Parse a record. Raises `ValueError` for one that this version does not understand."""
    data = json.loads(text)
    if not isinstance(data, dict) or data.pop("format", None) != FORMAT:
        raise ValueError("its format is that of another version")
    found = _built(AppReleases, data)
    assert isinstance(found, AppReleases)
    rollout = found.rollout
    if rollout is not None and not (rollout.step > 0 and 0 <= rollout.since < _LATEST):
        raise ValueError("it has a step or a time that cannot be")
    return found


def _plain(component: Component) -> dict[str, Any]:
    """The component's fields that differ from their defaults, so that a field of a later version changes no digest."""
    defaults = {
        item.name: item.default if item.default_factory is MISSING else item.default_factory()
        for item in fields(component)
    }
    written = asdict(component)
    return {name: value for name, value in written.items() if getattr(component, name) != defaults[name]}


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
        hints = get_type_hints(hint)
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
