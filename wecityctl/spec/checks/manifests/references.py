"""References in manifests to what pods read: Secrets, fields of the pod, and what its containers request."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from wecityctl.guesses import nearest
from wecityctl.model.city import Platform
from wecityctl.model.manifests import own_secrets
from wecityctl.spec.checks.manifests.fields import (
    QUALIFIED,
    Checker,
    Path,
    Rule,
    Step,
    Table,
    choice,
    filled,
    key,
    name,
    truth,
)
from wecityctl.spec.checks.manifests.reasons import SECRETS
from wecityctl.spec.fields import one_of
from wecityctl.spec.nodes import Map, Seq, shorten
from wecityctl.spec.translate import describe

# One label or annotation of the pod.
_MARKED = re.compile(rf"metadata\.(?:labels|annotations)\['{QUALIFIED.pattern}'\]")


def let(checker: Checker, path: Path, value: Any) -> None:
    """A value that another check of its mapping looks at."""


def maps(value: Any) -> Iterator[tuple[int, Map]]:
    """Yield the mappings in what may be a list."""
    for index, item in enumerate(value if isinstance(value, Seq) else ()):
        if isinstance(item, Map):
            yield index, item


def secret(named: str) -> Rule:
    """The name of a Secret in a reference to one: one of the owner's own."""

    def check(checker: Checker, path: Path, found: Map) -> None:
        own = sorted(own_secrets(checker.owner))
        wanted = found.get(named)
        if isinstance(checker.owner, Platform):
            checker.refuse((*path, named), f"a Secret cannot be read: {SECRETS}")
        elif wanted not in own:
            expected = one_of(tuple(own)) if own else "a binding under `uses` of the App, or `secrets` of a component"
            shown = repr(shorten(wanted)) if isinstance(wanted, str) else "no name"
            checker.refuse((*path, named), f"{shown} is not a Secret of this app", expected, nearest(str(wanted), own))

    return check


def field_of_pod(*paths: str) -> Table:
    """A reference to a field of the pod."""

    def check(checker: Checker, path: Path, value: Any) -> None:
        if not isinstance(value, str) or (value not in paths and not _MARKED.fullmatch(value)):
            checker.refuse(path, f"{describe(value)} is no field that pods are told", one_of(paths))

    return Table({"apiVersion": choice("v1"), "fieldPath": check}, ("fieldPath",))


AMOUNTS = ("cpu", "memory", "ephemeral-storage")
_RESOURCES = tuple(f"{kind}.{each}" for kind in ("requests", "limits") for each in AMOUNTS)
_DIVISORS = {
    "cpu": ("0", "1", "1m"),
    "memory": ("0", *(f"1{unit}" for unit in ("", "k", "M", "G", "T", "P", "E", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"))),
}


def _divisor(checker: Checker, path: Path, found: Map) -> None:
    given = found.get("divisor")
    allowed = _DIVISORS["cpu" if str(found.get("resource")).endswith("cpu") else "memory"]
    if given is not None and str(given) not in allowed:
        checker.given((*path, "divisor"), given, one_of(allowed))


def resource(*needs: str) -> Table:
    """A reference to what a container requests."""
    fields: dict[str, Step] = {"containerName": filled, "resource": choice(*_RESOURCES), "divisor": let}
    return Table(fields, ("resource", *needs), rules=(_divisor,))


OF_METADATA = ("metadata.name", "metadata.namespace", "metadata.uid")
OF_POD = (
    "spec.nodeName",
    "spec.serviceAccountName",
    "status.hostIP",
    "status.hostIPs",
    "status.podIP",
    "status.podIPs",
)
KEY: Mapping[str, Step] = {"name": name(253), "key": key, "optional": truth}
