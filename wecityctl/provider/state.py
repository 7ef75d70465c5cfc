"""Builds the outputs that the state records for a resource, as the official plug-in reads them, and parses them.

The live object is at the top level, next to `__inputs`, `__initialApiVersion` and `__fieldManager`. What the official
plug-in writes and neither plug-in needs is omitted.
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

# Set by the API server, never part of the inputs.
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
    """The outputs for a live object and the inputs (checked, secrets marked) that it was created from."""
    outputs = _hide_last_applied(mark_secrets(without_own_record(live, field_manager), inputs))
    return {
        **outputs,
        INPUTS: mark_secrets(inputs, None),
        INITIAL_API_VERSION: initial_api_version,
        FIELD_MANAGER: field_manager,
    }


def without_own_record(live: dict[str, Any], field_manager: str) -> dict[str, Any]:
    """The live object without its field sets in `metadata.managedFields` if only `field_manager` owns fields.

    Status fields are disregarded, and the entry stays, as it tells when the manager applied the object. Without field
    sets, `field_manager` owns everything that the inputs set. The next update may have to take over the fields of any
    other manager, so if there is one, all field sets stay.
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
    """The object to record after it was applied and waited for: what apply returned, with what was added from `later`.

    Added are the status and fields that were not there before. Other changes that were made in the meantime are
    omitted, because they were not requested.
    """
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
    """The live object as last recorded, in plain text."""
    recorded: dict[str, Any] = plain({key: value for key, value in state.items() if key not in _OWN})
    return recorded


def inputs_of(state: Mapping[str, Any]) -> dict[str, Any]:
    """The recorded inputs, with secrets marked; empty when the state has none."""
    found = state.get(INPUTS)
    if isinstance(found, Secret):
        found = found.value
    return found if isinstance(found, dict) else {}


def initial_api_version(state: Mapping[str, Any] | None, inputs: Mapping[str, Any]) -> str:
    """The API version that the resource was first created with."""
    found = (state or {}).get(INITIAL_API_VERSION) or inputs.get("apiVersion")
    return found if isinstance(found, str) else ""


def metadata_of(obj: Mapping[str, Any]) -> dict[str, Any]:
    """An object's metadata in plain text; empty when it has none or it is not known yet."""
    found = plain(obj.get("metadata"))
    return found if isinstance(found, dict) else {}


def name_of(obj: Mapping[str, Any]) -> str:
    """`metadata.name`, empty when missing or unknown."""
    return _text(obj, "name")


def namespace_of(obj: Mapping[str, Any]) -> str:
    """`metadata.namespace`, empty when missing or unknown."""
    return _text(obj, "namespace")


def _text(obj: Mapping[str, Any], field: str) -> str:
    """One text of an object's metadata. Reads nothing else, because it is called very often."""
    metadata = obj.get("metadata")
    while isinstance(metadata, Secret):
        metadata = metadata.value
    found = plain(metadata.get(field)) if isinstance(metadata, dict) else None
    return found if isinstance(found, str) else ""


def id_of(obj: Mapping[str, Any]) -> str:
    """`<namespace>/<name>`, or `<name>` for a cluster-scoped object."""
    namespace = namespace_of(obj)
    return f"{namespace}/{name_of(obj)}" if namespace else name_of(obj)


def split_id(identifier: str) -> tuple[str, str]:
    """The namespace (empty for none) and the name in an id."""
    namespace, slash, name = identifier.partition("/")
    return (namespace, name) if slash else ("", namespace)


def describe(obj: Mapping[str, Any]) -> str:
    """The object's name in messages: `Deployment shop/web`."""
    return f"{obj.get('kind', 'object')} {id_of(obj)}"


def uid_of(obj: Mapping[str, Any]) -> str:
    """`metadata.uid`, empty when there is none."""
    return _text(obj, "uid")


def named(body: dict[str, Any], name: str) -> dict[str, Any]:
    """A copy of the object with another name."""
    metadata = body.get("metadata")
    return {**body, "metadata": {**(metadata if isinstance(metadata, dict) else {}), "name": name}}


def wire(inputs: Mapping[str, Any]) -> dict[str, Any]:
    """The body that is sent to the API server for these inputs: in plain text, without what only the server sets."""
    body: dict[str, Any] = plain(dict(inputs))
    metadata = body.get("metadata")
    if isinstance(metadata, dict):
        body["metadata"] = {key: value for key, value in metadata.items() if key not in READ_ONLY_METADATA}
    version = body.get("apiVersion")
    if isinstance(version, str):
        body["apiVersion"] = version.removeprefix("core/")
    return body


def _hide_last_applied(live: dict[str, Any]) -> dict[str, Any]:
    # kubectl keeps a copy of the whole object in an annotation: for a Secret that includes its data in plain text.
    metadata = live.get("metadata")
    if live.get("kind") != "Secret" or not isinstance(metadata, dict):
        return live
    annotations = metadata.get("annotations")
    if not isinstance(annotations, dict) or not isinstance(annotations.get(LAST_APPLIED), str):
        return live
    hidden = {**annotations, LAST_APPLIED: Secret(annotations[LAST_APPLIED])}
    return {**live, "metadata": {**metadata, "annotations": hidden}}
