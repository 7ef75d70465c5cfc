"""Whose an object of the whole cluster is: one that names its city takes no name that somebody else has already.

Server-side apply would share such an object in silence, as long as nobody sets the same fields. Objects in namespaces
need no look of their own: their namespace is one of these.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from wecityctl.errors import ConfigurationError
from wecityctl.kube.errors import Forbidden, KindNotFound, NotFound
from wecityctl.provider.instance import Instance
from wecityctl.provider.kinds import Kind, kind_of_object
from wecityctl.provider.state import describe, metadata_of, name_of

CITY: Final = "wecity.dev/city"


async def require_free(provider: Instance, body: dict[str, Any]) -> None:
    """Raise `ConfigurationError` when an object of that name is there that is not the city's."""
    city = _city(body)
    kind = kind_of_object(body, Kind("", "", ""))
    if not city or kind.known_scope is not False or not name_of(body):
        return
    try:
        rt = await provider.client.resource(kind.api_version, kind.name)
        live = await provider.client.get(rt, name_of(body))
    except (NotFound, KindNotFound, Forbidden):
        # Nothing there, or not for us to see: what follows says so itself.
        return
    if _city(live) != city:
        raise taken(describe(live), _city(live))


def taken(what: str, owner: str) -> ConfigurationError:
    """The refusal, in one place."""
    whose = f"belongs to the city {owner}" if owner else "was there before and is not ours"
    return ConfigurationError(
        f"{what} {whose}; it is left as it is",
        resolution="rename what the files call so, or give the city a cluster without it",
    )


def _city(obj: Mapping[str, Any]) -> str:
    labels = metadata_of(obj).get("labels")
    return str(labels.get(CITY, "")) if isinstance(labels, Mapping) else ""
