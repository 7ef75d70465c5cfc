"""The annotations by which a user controls waiting for an object: whether, how long, and for what.

They are those of the official Kubernetes plug-in: pulumi.com/skipAwait, timeoutSeconds and waitFor.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from wecityctl.errors import ConfigurationError
from wecityctl.kube.readiness import jsonpath
from wecityctl.kube.readiness.generic import condition, told
from wecityctl.kube.readiness.model import READY, Readiness, waiting
from wecityctl.kube.resource import Object, describe, meta

SKIP, TIMEOUT, WAIT_FOR = "pulumi.com/skipAwait", "pulumi.com/timeoutSeconds", "pulumi.com/waitFor"


@dataclass(frozen=True, slots=True)
class WaitFor:
    """One condition of `waitFor`: a JSONPath (`steps`) or a condition type, and the value that it must have.

    If `value` is None, any value at the path will do. The default for a condition type is "True".
    """

    text: str
    condition: str = ""
    steps: tuple[jsonpath.Step, ...] = ()
    value: str | None = None

    def met(self, obj: Object) -> Readiness:
        """Whether the object meets the condition."""
        if self.condition:
            return self._condition_met(obj)
        values = [jsonpath.as_text(v) for v in jsonpath.find(self.steps, obj)]
        if self.value is None:
            return READY if values else waiting(f"waiting for {self.text}")
        if self.value in values:
            return READY
        return waiting(f"waiting for {self.text}, it is {', '.join(values) or 'not there'}")

    def _condition_met(self, obj: Object) -> Readiness:
        found = condition(obj, self.condition)
        if found is None:
            return waiting(f"waiting for {self.text}, it is not there")
        observed, generation = found.get("observedGeneration"), meta(obj).get("generation")
        if isinstance(observed, int) and isinstance(generation, int) and observed < generation:
            return waiting(f"waiting for {self.text}, its controller has not looked at it yet")
        if str(found.get("status", "")).lower() == (self.value or "True").lower():
            return READY
        return waiting(f"waiting for {self.text}, it is {found.get('status')}: {told(found)}".rstrip(": "))


@dataclass(frozen=True, slots=True)
class WaitPlan:
    """Whether to wait for an object, for how many seconds, and for what (empty: the kind's own rule)."""

    skip: bool
    timeout: float
    wait_for: tuple[WaitFor, ...] = ()


def wait_plan(obj: Mapping[str, Any], *, default_timeout: float = 600.0) -> WaitPlan:
    """Read pulumi.com/skipAwait, pulumi.com/timeoutSeconds and pulumi.com/waitFor. Raises `ConfigurationError`."""
    annotations = meta(obj).get("annotations") or {}
    skip = str(annotations.get(SKIP) or "").strip().lower() == "true"
    return WaitPlan(skip, _timeout(obj, annotations, default_timeout), _wishes(obj, annotations.get(WAIT_FOR)))


def all_met(wishes: Sequence[WaitFor], obj: Object) -> Readiness:
    """Ready when every condition is met; otherwise the first one that is not."""
    for wish in wishes:
        found = wish.met(obj)
        if found.state != "ready":
            return found
    return READY


def parse_wish(text: str) -> WaitFor:
    """Parse one condition in the syntax of kubectl wait's --for. Raises `ConfigurationError`."""
    kind, _, rest = text.strip().partition("=")
    if kind == "condition" and rest:
        name, _, value = rest.partition("=")
        return WaitFor(text, condition=name.strip(), value=value.strip() or "True")
    if kind == "jsonpath" and rest:
        found = re.fullmatch(r"\s*(\{.*\}|[^={}]+?)\s*(?:==?(.*))?", rest, re.DOTALL)
        if found is not None:
            wanted = found[2].strip().strip("\"'") if found[2] is not None else None
            return WaitFor(text, steps=jsonpath.parse(found[1]), value=wanted)
    raise ConfigurationError(
        f"{WAIT_FOR} {text!r} cannot be read",
        resolution="write condition=Ready, jsonpath={.status.phase}=Running, or a JSON list of such texts",
    )


def _wishes(obj: Mapping[str, Any], value: object) -> tuple[WaitFor, ...]:
    if value is None or not str(value).strip():
        return ()
    text = str(value).strip()
    if not text.startswith("["):
        return (parse_wish(text),)
    try:
        listed = json.loads(text)
    except ValueError as error:
        raise ConfigurationError(f"{describe(obj)}: {WAIT_FOR} is not a JSON list: {error}") from error
    if not all(isinstance(item, str) for item in listed):
        raise ConfigurationError(f"{describe(obj)}: {WAIT_FOR} must be a list of texts")
    return tuple(parse_wish(item) for item in listed)


def _timeout(obj: Mapping[str, Any], annotations: Mapping[str, Any], default: float) -> float:
    text: object = annotations.get(TIMEOUT)
    if text is None:
        return default
    try:
        seconds = float(int(str(text).strip()))
    except ValueError:
        seconds = 0.0
    if seconds <= 0:
        raise ConfigurationError(f"{describe(obj)}: {TIMEOUT} must be a whole number of seconds, not {text!r}")
    return seconds
