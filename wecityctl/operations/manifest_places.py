"""Notes for runs in which an object of an app's or a platform's own manifests failed: where it is in the files.

The cluster refuses an object by its name, and what names it is one of several documents in some file.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from wecityctl.model import naming
from wecityctl.model.stacknames import StackName

if TYPE_CHECKING:
    from wecityctl.model.events import RunResult
    from wecityctl.session import Session


def manifest_places(session: Session, result: RunResult) -> Iterator[str]:
    """Yield a note with the place in the files for each object of a manifest that failed."""
    for item in result.results:
        stack = StackName.parse(item.stack)
        for change in item.failed:
            kind, (namespace, _, name) = change.type.rpartition(":")[2], change.name.rpartition("/")
            for owner_kind, owner in _owners(session, stack, namespace):
                place = session.positions.manifest(owner_kind, owner, kind, name)
                if place is not None:
                    yield f"{kind} {change.name}, which failed, is a manifest of {owner}: {place}"


def _owners(session: Session, stack: StackName, namespace: str) -> Iterator[tuple[str, str]]:
    """Yield kind and name of the documents whose manifests are in a stack's namespace."""
    if stack.layer == "platform":
        yield "Platform", stack.subject
    for app in session.city.apps if stack.layer == "tenant" else ():
        if app.tenant == stack.subject and naming.tenant_namespace(app.tenant, app.zone) == namespace:
            yield "App", f"{app.tenant}/{app.name}"
