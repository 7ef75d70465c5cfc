"""The outputs that a resource has in the state, as the official plug-in reads them, and reading them back.

The live object at the top, beside it `__inputs`, `__initialApiVersion` and `__fieldManager`. What the official plug-in
writes and neither plug-in needs is left out.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from wecityctl.provider.annotations import LAST_APPLIED
from wecityctl.provider.properties import Secret, mark_secrets, plain

INPUTS: Final = "__inputs"
INITIAL_API_VERSION: Final = "__initialApiVersion"
FIELD_MANAGER: Final = "__fieldManager"
_OWN: Final = (INPUTS, INITIAL_API_VERSION, FIELD_MANAGER)

# Set by the API server, never asked for.
READ_ONLY_METADATA: Final = (
    "creationTimestamp",
    "deletionGracePeriodSeconds",
    "deletionTimestamp",
    "generation",
    "managedFields",
    "resourceVersion",
    "selfLink",
    "uid",
)


def build(
    live: dict[str, Any], inputs: dict[str, Any], *, initial_api_version: str, field_manager: str
) -> dict[str, Any]:
    """The outputs for a live object and the (checked, secrets marked) inputs it was made from."""
    outputs = _hide_last_applied(mark_secrets(without_own_record(live, field_manager), inputs))
    return {
        **outputs,
        INPUTS: mark_secrets(inputs, None),
        INITIAL_API_VERSION: initial_api_version,
        FIELD_MANAGER: field_manager,
    }


def without_own_record(live: dict[str, Any], field_manager: str) -> dict[str, Any]:
    """The live object without the fields in `metadata.managedFields` where these name nobody but `field_manager`,
    statuses aside: when it has applied the object stays.

    Where the fields are left out, `field_manager` owns all that the inputs state. Anybody else's entry may have to be
    taken over by the next update, so that then all of them stay.
    """
    metadata = live.get("metadata")
    entries = metadata.get("managedFields") if isinstance(metadata, dict) else None
    if not isinstance(metadata, dict) or not isinstance(entries, list):
        return live
    written = [entry for entry in entries if entry.get("subresource") != "status"]
    own = [entry for entry in written if entry.get("manager") == field_manager and entry.get("operation") == "Apply"]
    if not own or len(own) < len(written) or any(entry.get("subresource") for entry in own):
        return live
    short = [{key: value for key, value in entry.items() if key not in ("fieldsV1", "fieldsType")} for entry in own]
    return {**live, "metadata": {**metadata, "managedFields": short}}


def recorded(applied: dict[str, Any], later: dict[str, Any]) -> dict[str, Any]:
    """What is written down of an object that was applied and then waited for: what apply returned, with the status and
    the fields that were not there yet from `later`. What others have changed meanwhile is not what was asked for."""
    if uid_of(applied) != uid_of(later):
        return later
    status = {"status": later["status"]} if "status" in later else {}
    return {**_with_additions(applied, later), **status}


def _with_additions(applied: dict[str, Any], later: dict[str, Any]) -> dict[str, Any]:
    both = {
        key: _with_additions(value, later[key])
        for key, value in applied.items()
        if isinstance(value, dict) and isinstance(later.get(key), dict)
    }
    return {**later, **applied, **both}


def live_of(state: Mapping[str, Any]) -> dict[str, Any]:
    """The live object as it was last recorded, in clear."""
    recorded: dict[str, Any] = plain({key: value for key, value in state.items() if key not in _OWN})
    return recorded


def inputs_of(state: Mapping[str, Any]) -> dict[str, Any]:
    """The recorded inputs, secrets still marked; empty when the state has none."""
    found = state.get(INPUTS)
    if isinstance(found, Secret):
        found = found.value
    return found if isinstance(found, dict) else {}


def initial_api_version(state: Mapping[str, Any] | None, inputs: Mapping[str, Any]) -> str:
    """The API version the resource was first made with."""
    found = (state or {}).get(INITIAL_API_VERSION) or inputs.get("apiVersion")
    return found if isinstance(found, str) else ""


def metadata_of(obj: Mapping[str, Any]) -> dict[str, Any]:
    """An object's metadata in clear; empty when it has none or it is not known yet."""
    found = plain(obj.get("metadata"))
    return found if isinstance(found, dict) else {}


def name_of(obj: Mapping[str, Any]) -> str:
    """`metadata.name`, empty when missing or unknown."""
    return _text(obj, "name")


def namespace_of(obj: Mapping[str, Any]) -> str:
    """`metadata.namespace`, empty when missing or unknown."""
    return _text(obj, "namespace")


def _text(obj: Mapping[str, Any], field: str) -> str:
    """A text in an object's metadata, of which nothing else is looked at: this is asked for all the time."""
    metadata = obj.get("metadata")
    while isinstance(metadata, Secret):
        metadata = metadata.value
    found = plain(metadata.get(field)) if isinstance(metadata, dict) else None
    return found if isinstance(found, str) else ""


def id_of(obj: Mapping[str, Any]) -> str:
    """`<namespace>/<name>`, or `<name>` for an object of the cluster."""
    namespace = namespace_of(obj)
    return f"{namespace}/{name_of(obj)}" if namespace else name_of(obj)


def split_id(identifier: str) -> tuple[str, str]:
    """The namespace (empty for none) and the name in an id."""
    namespace, slash, name = identifier.partition("/")
    return (namespace, name) if slash else ("", namespace)


def describe(obj: Mapping[str, Any]) -> str:
    """`Deployment shop/web`: how people name an object."""
    return f"{obj.get('kind', 'object')} {id_of(obj)}"


def uid_of(obj: Mapping[str, Any]) -> str:
    """`metadata.uid`, empty when there is none."""
    return _text(obj, "uid")


def named(body: dict[str, Any], name: str) -> dict[str, Any]:
    """The object under another name."""
    metadata = body.get("metadata")
    return {**body, "metadata": {**(metadata if isinstance(metadata, dict) else {}), "name": name}}


def wire(inputs: Mapping[str, Any]) -> dict[str, Any]:
    """What is sent to the API server for these inputs: in clear, without what only the server sets."""
    body: dict[str, Any] = plain(dict(inputs))
    metadata = body.get("metadata")
    if isinstance(metadata, dict):
        body["metadata"] = {key: value for key, value in metadata.items() if key not in READ_ONLY_METADATA}
    version = body.get("apiVersion")
    if isinstance(version, str):
        body["apiVersion"] = version.removeprefix("core/")
    return body


def _hide_last_applied(live: dict[str, Any]) -> dict[str, Any]:
    # kubectl keeps a copy of the whole object in an annotation: for a Secret that is its data in clear.
    metadata = live.get("metadata")
    if live.get("kind") != "Secret" or not isinstance(metadata, dict):
        return live
    annotations = metadata.get("annotations")
    if not isinstance(annotations, dict) or not isinstance(annotations.get(LAST_APPLIED), str):
        return live
    hidden = {**annotations, LAST_APPLIED: Secret(annotations[LAST_APPLIED])}
    return {**live, "metadata": {**metadata, "annotations": hidden}}
