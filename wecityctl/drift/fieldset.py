"""Operations on the field sets of `metadata.managedFields` (FieldsV1 of structured-merge-diff). Pure.

A set is a tree: `f:name` is a field, `k:{…}` an element of a keyed list, `v:…` a value of a set, `.` the node itself.
An empty tree is a leaf and includes everything below it. So how a list is merged never has to be guessed.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

Fields = Mapping[str, Any]
Path = tuple[str, ...]

SELF: Final = "."
_ABSENT: Final[Any] = object()


def union(left: Fields, right: Fields) -> dict[str, Any]:
    """The fields that are in either set."""
    result = dict(left)
    for key, below in right.items():
        known = result.get(key)
        result[key] = below if known is None or key == SELF else _packed(union(_node(known), _node(below)))
    return result


def minus(left: Fields, right: Fields) -> dict[str, Any]:
    """The fields of `left` that are not in `right`."""
    result: dict[str, Any] = {}
    for key, below in left.items():
        if key not in right:
            result[key] = below
        elif key != SELF and (rest := minus(_node(below), _node(right[key]))):
            result[key] = _packed(rest)
    return result


def less(fields: Fields, own: Fields) -> dict[str, Any]:
    """`fields` without what is at or below a leaf of `own`, and without nodes that become empty by that."""
    result: dict[str, Any] = {}
    for key, below in fields.items():
        inner = own.get(key)
        if inner is None or (inner and not below):
            result[key] = below
        elif inner and set(rest := less(below, inner)) - {SELF}:
            result[key] = rest
    return result


def below_of(left: Fields, leaves_of: Fields) -> dict[str, Any]:
    """The fields of `left` that are at or below a leaf of `leaves_of`, so that this set includes them."""
    result: dict[str, Any] = {}
    for key, below in left.items():
        other = leaves_of.get(key)
        if other is None or key == SELF:
            continue
        if not other:
            result[key] = below
        elif rest := below_of(_node(below), other):
            result[key] = rest
    return result


def paths(fields: Fields, above: Path = ()) -> Iterator[Path]:
    """The set's members, without nodes that have members below them."""
    for key, below in fields.items():
        if key == SELF:
            continue
        inner = [item for item in below if item != SELF]
        if inner:
            yield from paths(below, (*above, key))
        else:
            yield (*above, key)


def text(path: Path) -> str:
    """A path in readable form: `spec.containers[name=web].image`."""
    result = ""
    for key in path:
        kind, _, rest = key.partition(":")
        if kind == "f":
            result += f".{rest}" if "." not in rest else f"[{rest}]"
        elif kind == "k":
            result += "[" + ",".join(f"{name}={value}" for name, value in json.loads(rest).items()) + "]"
        else:
            result += f"[{rest}]"
    return result.removeprefix(".")


def of(found: Iterable[Path]) -> dict[str, Any]:
    """The set with these paths as its leaves."""
    result: dict[str, Any] = {}
    for path in found:
        node = result
        for key in path:
            node = node.setdefault(key, {})
    return result


def children(value: Any, structure: Fields) -> Iterator[tuple[str, Any]]:
    """The direct children of a value with their keys; `structure` is a set of the same object.

    An element of a list that is not in the structure gets a key of the same form as the elements that are.
    """
    if isinstance(value, Mapping):
        for name, below in value.items():
            yield f"f:{name}", below
    elif isinstance(value, list):
        known = [key for key in structure if key != SELF]
        for index, item in enumerate(value):
            yield next((key for key in known if _names(key, item, index)), None) or _key_like(known, item, index), item


def stated(value: Any, structure: Fields) -> dict[str, Any]:
    """The set of the fields that a value has, down to the leaves of `structure`, a set of the same object."""
    found: dict[str, Any] = {}
    for key, below in children(value, structure):
        inner = structure.get(key) or {}
        found[key] = stated(below, inner) if set(inner) - {SELF} and isinstance(below, Mapping | list) else {}
    return found


def _key_like(known: Sequence[str], item: Any, index: int) -> str:
    kind, _, rest = known[0].partition(":") if known else ("i", "", "")
    if kind == "k" and isinstance(item, Mapping):
        return "k:" + json.dumps({name: item.get(name) for name in json.loads(rest)}, separators=(",", ":"))
    return "v:" + json.dumps(item, separators=(",", ":")) if kind == "v" else f"i:{index}"


def contains(fields: Fields, path: Path) -> bool:
    """Whether a set contains a path or a leaf above it."""
    for key in path:
        if key not in fields:
            return False
        fields = fields[key]
        if not fields:
            return True
    return True


def value_at(value: Any, path: Path) -> Any:
    """The value at a path; `None` if there is none."""
    for key in path:
        found = child(value, key)
        if found is _ABSENT:
            return None
        value = found
    return value


def child(value: Any, key: str) -> Any:
    """The child of a value that a tree's key names; a private marker if it does not exist."""
    kind, _, rest = key.partition(":")
    if kind == "f":
        return value.get(rest, _ABSENT) if isinstance(value, Mapping) else _ABSENT
    if not isinstance(value, list):
        return _ABSENT
    if kind == "k":
        return next((item for item in value if _has_keys(item, json.loads(rest))), _ABSENT)
    if kind == "v":
        wanted = json.loads(rest)
        return wanted if wanted in value else _ABSENT
    index = int(rest)
    return value[index] if index < len(value) else _ABSENT


def without(value: Any, fields: Fields) -> Any:
    """The value without the members of a set. Removes list elements that keep only their identifying keys."""
    if isinstance(value, Mapping):
        result = dict(value)
        for key, below in fields.items():
            name = key.partition(":")[2]
            if not key.startswith("f:") or name not in result:
                continue
            if set(below) - {SELF}:
                result[name] = without(result[name], below)
            else:
                del result[name]
        return result
    if isinstance(value, list):
        kept = []
        for index, item in enumerate(value):
            named = next((key for key in fields if key != SELF and _names(key, item, index)), None)
            if named is None:
                kept.append(item)
            elif set(fields[named]) - {SELF} and SELF not in fields[named]:
                kept.append(without(item, fields[named]))
        return kept
    return value


def unowned(stated: Any, fields: Fields, above: Path = ()) -> Iterator[Path]:
    """The paths of `stated` that are not in a set: what the owner of the set declares but does not own.

    The set's own keys identify elements of lists; an element that is not in the set is named by its index. Empty values
    are omitted, because the API server may drop them.
    """
    if not fields:
        return
    if isinstance(stated, Mapping):
        for name, value in stated.items():
            key = f"f:{name}"
            if key in fields:
                yield from unowned(value, fields[key], (*above, key))
            elif not _is_empty(value):
                yield (*above, key)
    elif isinstance(stated, list):
        for index, item in enumerate(stated):
            found = next((name for name in fields if _names(name, item, index)), None)
            if found is None:
                yield (*above, f"i:{index}")
            else:
                yield from unowned(item, fields[found], (*above, found))


def _names(key: str, item: Any, index: int) -> bool:
    kind, _, rest = key.partition(":")
    if kind == "k":
        return _has_keys(item, json.loads(rest))
    if kind == "v":
        return bool(json.loads(rest) == item)
    return kind == "i" and int(rest) == index


def _has_keys(item: Any, keys: Mapping[str, Any]) -> bool:
    # Keys that the server defaults, such as a port's protocol, may be missing from the declared object.
    return isinstance(item, Mapping) and all(item.get(name, value) == value for name, value in keys.items())


def _is_empty(value: Any) -> bool:
    return value is None or value in ("", 0, False) or (isinstance(value, Mapping | list) and not value)


def _node(fields: Fields) -> Fields:
    # A leaf is a member without members below it.
    return fields or {SELF: {}}


def _packed(fields: dict[str, Any]) -> dict[str, Any]:
    return {} if set(fields) == {SELF} else fields
