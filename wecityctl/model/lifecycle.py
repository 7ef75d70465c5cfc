"""The recorded life of an app: who submitted, reviewed, published, suspended or retired which version of it. Pure.

A version is identified by a digest over what the App document says, without its stage and whatever has its default
value, so that neither layout nor comments nor a later release's new fields change it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, dataclass, fields, is_dataclass
from typing import TYPE_CHECKING, Any, Literal

from wecityctl.model.identities import person
from wecityctl.model.registries import images_in, is_of_catalogue, pod_spec

if TYPE_CHECKING:
    from wecityctl.model.city import App

Action = Literal["submit", "review", "reject", "publish", "suspend", "resume", "retire"]
CheckResult = Literal["passed", "failed", "advisory"]

Fault = Literal["not-first", "wrong-stage", "not-submitted", "other-version", "own-review"]
Stage = Literal["draft", "reviewed", "published", "suspended", "retired"]

# Days for which the data of a retired app is kept, unless its retirement says otherwise.
KEEP_DAYS = 180

# The stage in which an action leaves an app; those that are not listed leave it where it was.
_STAGE_AFTER: Mapping[Action, Stage] = {
    "review": "reviewed",
    "publish": "published",
    "suspend": "suspended",
    "resume": "published",
    "retire": "retired",
}
# The stages in which an app can be when an action is taken; any for those that are not listed.
STAGES_BEFORE: Mapping[Action, tuple[str, ...]] = {
    "publish": ("reviewed", "published", "suspended", "retired"),
    "suspend": ("published",),
    "resume": ("suspended",),
    "retire": ("draft", "reviewed", "published", "suspended"),
}


@dataclass(frozen=True, slots=True)
class ReviewCheck:
    """The result of one check of a review, and the findings behind it."""

    name: str
    result: CheckResult
    findings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Record:
    """One action on an app: who took it, when (RFC 3339 with a time zone), and on which version (`content_digest`).

    `stage` is the one in which it left the app. `keep_until` is the last day (ISO date) for which a retired app's data
    is kept.
    """

    action: Action
    by: str
    at: str
    digest: str
    stage: Stage
    note: str = ""
    checks: tuple[ReviewCheck, ...] = ()
    keep_until: str = ""


@dataclass(frozen=True, slots=True)
class Lifecycle:
    """The records of one app, oldest first."""

    name: str
    tenant: str
    records: tuple[Record, ...] = ()

    def last(self, *actions: Action) -> Record | None:
        """The last record of one of these actions."""
        return next((item for item in reversed(self.records) if item.action in actions), None)

    @property
    def pending(self) -> Record | None:
        """The submission that was neither reviewed nor rejected yet."""
        found = self.last("submit", "review", "reject")
        return found if found is not None and found.action == "submit" else None


def stage_after(action: Action, before: Stage) -> Stage:
    """The stage in which an action leaves an app that was in the stage `before`.

    A published or suspended app stays that while its next version is reviewed.
    """
    if action == "review" and before in ("published", "suspended"):
        return before
    return _STAGE_AFTER.get(action, before)


def faults_of(earlier: Lifecycle, stage: Stage, record: Record) -> Iterator[Fault]:
    """Yield why the record cannot follow the earlier ones, which leave the app in `stage`."""
    # A published app can be suspended at once, whether or not its life was recorded before.
    if not earlier.records and record.action not in ("submit", "suspend"):
        yield "not-first"
    elif stage not in STAGES_BEFORE.get(record.action, (stage,)):
        yield "wrong-stage"
    if record.action not in ("review", "reject"):
        return
    submitted = earlier.pending
    if submitted is None:
        yield "not-submitted"
        return
    if submitted.digest != record.digest:
        yield "other-version"
    if record.action == "review" and person(submitted.by) == person(record.by):
        yield "own-review"


def content_digest(app: App, registry: str = "") -> str:
    """The digest of what an `App` says, without its stage, as `sha256:` and 64 hexadecimal digits.

    `registry` is the one that the city takes public images from (empty: each from its own). Another one may have other
    images under the same names, except for those that are named by digest.
    """
    content = _content(app)
    for field in ("stage", "known_as"):
        content.pop(field, None)
    if registry and any(not is_fixed_image(image) for image in _images(app)):
        content["registry"] = registry
    text = json.dumps(content, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"


def is_fixed_image(image: str) -> bool:
    """Whether the reference says what the image contains: one of the catalogue has a lock, another its digest."""
    return is_of_catalogue(image) or "@sha256:" in image


def _images(app: App) -> Iterator[str]:
    yield from (part.image for part in app.components)
    for manifest in app.manifests:
        yield from images_in(pod_spec(manifest.content) or {})


def _content(value: Any) -> Any:
    """A model value as JSON, without the fields that have their default value."""
    if is_dataclass(value):
        found = {}
        for field in fields(value):
            item = getattr(value, field.name)
            default = field.default_factory() if field.default_factory is not MISSING else field.default
            if default is MISSING or item != default:
                found[field.name] = _content(item)
        return found
    if isinstance(value, Mapping):
        # The order of ports and variables counts: the first port is the main one.
        return [[key, _content(item)] for key, item in value.items()]
    if isinstance(value, list | tuple):
        return [_content(item) for item in value]
    return value
