"""What the release before registered for two cities is registered under the same names: nothing is remade.

`released/CITY/` are files, `released/CITY.txt` what the release before made of them: a line for each resource, with its
stack, type and name, namespace and name on the cluster, a digest of its labels, and whether it is protected. A line
goes only with a move of the state that touches no object. Jobs that check an entry point's routes are named after the
routes' content, and compared without it.
"""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path

import pytest

from wecityctl.operations.offline import record_session
from wecityctl.resource_graph import RecordedResource
from wecityctl.session import open_session

RELEASED = Path(__file__).with_name("released")


def line(stack: str, resource: RecordedResource) -> str:
    metadata = resource.inputs.get("metadata") or {}
    labels = dict(metadata.get("labels") or {})
    digest = hashlib.sha256(json.dumps(labels, sort_keys=True).encode()).hexdigest()[:12] if labels else "-"
    place = f"{metadata.get('namespace') or '-'}/{metadata.get('name') or '-'}"
    type_and_name = resource.urn.split("::", 2)[2]
    return f"{stack} {type_and_name} {place} {digest} {'protected' if resource.protect else '-'}"


@pytest.mark.slow
@pytest.mark.parametrize("city", ["xingcheng", "four-clouds"])
def test_what_the_release_before_registered_has_the_same_names(city: str) -> None:
    recorded = record_session(open_session(RELEASED / city))
    now = {line(item.stack, resource) for item in recorded for resource in item.resources}
    before = set((RELEASED / f"{city}.txt").read_text(encoding="utf-8").splitlines())
    assert len(before) > 150
    assert sorted(set(map(_without_digests, before)) - set(map(_without_digests, now))) == []


def _without_digests(text: str) -> str:
    """Without the digests of what Jobs do: a mended script, or other routes, are another Job of the same resource."""
    return re.sub(r"/((?:entry-routes|provision-[a-z0-9-]+))-[0-9a-f]{10} ", r"/\1 ", text)
