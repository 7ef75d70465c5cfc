"""Validates documents against their schemas and translates pydantic's errors into problems with source locations."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from pydantic import ValidationError

from wecityctl.errors import Problem
from wecityctl.guesses import nearest
from wecityctl.model.disclosure import names_a_secret
from wecityctl.spec import foreign
from wecityctl.spec.fields import fields_of, find_field, one_of
from wecityctl.spec.lookalikes import find_lookalike
from wecityctl.spec.nodes import Document, Map, PathItem, Seq, SignedInt, Unquoted, format_path, shorten
from wecityctl.spec.renamed_fields import RENAMED
from wecityctl.spec.scalars import NUMBER, resolve_plain
from wecityctl.spec.schema import API_VERSION, KINDS, DocumentSchema
from wecityctl.spec.schema.refuse import ERROR_TYPE

_WANTED = {
    "string_type": "text",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "bool_type": "true or false",
    "list_type": "a list",
    "dict_type": "a mapping of names to values",
    "model_type": "a mapping with fields",
    "model_attributes_type": "a mapping with fields",
}
_PLAIN_TYPES = {"a whole number": int, "true or false": bool}
# Words that are truth values to some YAML readers.
_TRUTH = {"yes": "true", "on": "true", "no": "false", "off": "false"}
_SYNONYMS = {"x86_64": "amd64", "x64": "amd64", "aarch64": "arm64", "loongarch64": "loong64"}


def read_schema(document: Document) -> tuple[DocumentSchema | None, list[Problem]]:
    """Validate a document against the schema of its kind; returns the schema, or `None`, and the problems."""
    problems = _envelope_problems(document)
    kind = KINDS.get(document.kind)
    if kind is None or not isinstance(document.value, Map):
        return None, problems
    try:
        return (None if problems else kind.model_validate(document.value)), problems
    except ValidationError as error:
        details = error.errors(include_url=False)
    refused = _refused_next(document, kind, details)
    found = (_translate(document, kind, refused.get(detail["loc"], detail)) for detail in details)
    return None, problems + [problem for problem in found if problem is not None]


def _refused_next(document: Document, kind: type[DocumentSchema], details: list[Any]) -> dict[tuple[Any, ...], Any]:
    """The errors, by location, that values of a wrong type would have in the right one, as with quotes.

    Advice to write them so would be refused next.
    """
    copies: dict[int, Any] = {}
    value = _copied(document.value, copies)
    changed = set()
    for detail in details:
        loc, given = detail["loc"], detail["input"]
        meant = _in_right_type(_WANTED.get(detail["type"], ""), given)
        parent = value
        for item in loc[:-1]:
            known = isinstance(parent, dict) and item in parent
            known = known or (isinstance(parent, list) and isinstance(item, int) and item < len(parent))
            parent = parent[item] if known else None
        if meant is not None and isinstance(parent, dict | list) and "[key]" not in loc:
            parent[loc[-1]] = meant
            changed.add(loc)
    if not changed:
        return {}
    try:
        kind.model_validate(value)
    except ValidationError as error:
        found = error.errors(include_url=False)
        return {each["loc"]: each for each in found if each["loc"] in changed and each["type"] == ERROR_TYPE}
    return {}


def _in_right_type(wanted: str, given: Any) -> Any:
    """What the advice says to write in place of `given`; `None` if there is no such advice."""
    if wanted == "text" and isinstance(given, Unquoted | bool | int):
        return _written(given)
    if type(given) is str and type(number := resolve_plain(given)) is _PLAIN_TYPES.get(wanted):
        return number
    return None


def _copied(node: Any, copies: dict[int, Any]) -> Any:
    """`node` with mappings and lists of its own; what stands in several places by an alias stays one."""
    if id(node) in copies:
        return copies[id(node)]
    if isinstance(node, Map):
        made: dict[str, Any] = {}
        copies[id(node)] = made
        made.update((key, _copied(item, copies)) for key, item in node.items())
        return made
    if isinstance(node, Seq):
        items: list[Any] = []
        copies[id(node)] = items
        items.extend(_copied(item, copies) for item in node)
        return items
    return node


def problem_at(
    document: Document,
    path: tuple[PathItem, ...],
    message: str,
    expected: str = "",
    suggestion: str = "",
    *,
    on_key: bool = False,
) -> Problem:
    """A problem at `path` in `document`."""
    place = document.place(path, on_key=on_key)
    return Problem(place.file, place.line, place.column, format_path(path), message, expected, suggestion)


def _envelope_problems(document: Document) -> list[Problem]:
    """Problems with `apiVersion`, `kind` and the document itself; empty if the kind's schema can be applied."""
    value = document.value
    if isinstance(value, str) and (odd := find_lookalike(value)):
        return [problem_at(document, (), odd.message, odd.expected)]
    if not isinstance(value, Map):
        return [
            problem_at(
                document, (), f"the document is {describe(value)}", f"a mapping that begins apiVersion: {API_VERSION}"
            )
        ]
    problems = []
    version = value.get("apiVersion")
    if "apiVersion" in value and version != API_VERSION:
        guess = API_VERSION if str(version).startswith("wecity") else ""
        problems.append(
            problem_at(
                document, ("apiVersion",), f"{describe(version)} is not a version of this format", API_VERSION, guess
            )
        )
    kind = value.get("kind")
    if "kind" not in value:
        problems.append(problem_at(document, (), "field 'kind' is missing", one_of(tuple(KINDS))))
    elif kind not in KINDS if isinstance(kind, str) else True:
        foreign_kind = foreign.KINDS.get(kind, "") if isinstance(kind, str) else ""
        guess = nearest(kind, tuple(KINDS)) if isinstance(kind, str) and not foreign_kind else ""
        message = f"{describe(kind)} is not a kind of document"
        problems.append(problem_at(document, ("kind",), message, foreign_kind or one_of(tuple(KINDS)), guess))
    return problems


def _translate(document: Document, kind: type[DocumentSchema], detail: Any) -> Problem | None:
    loc = tuple(item for item in detail["loc"] if item != "[key]")
    on_key = "[key]" in detail["loc"]
    match detail["type"]:
        case "extra_forbidden":
            return _unknown_field(document, kind, loc)
        case "missing":
            return _missing_field(document, kind, loc)
        case "literal_error":
            return _wrong_choice(document, kind, loc, detail["input"], on_key=on_key)
        case "too_short":
            return problem_at(document, loc, "is empty", "at least one entry")
        case str(name) if name == ERROR_TYPE:
            context = detail["ctx"]
            # What is refused cannot be what is meant.
            guess = context["suggestion"] if context["suggestion"] != detail["input"] else ""
            problem = problem_at(document, loc, context["message"], context["expected"], guess, on_key=on_key)
            return replace(problem, hides=context["hides"])
        case str(name) if name in _WANTED:
            return _wrong_type(document, loc, detail["input"], _WANTED[name])
        case _:
            return problem_at(document, loc, detail["msg"], on_key=on_key)


def _unknown_field(document: Document, kind: type[DocumentSchema], loc: tuple[PathItem, ...]) -> Problem:
    name = str(loc[-1])
    parent = find_field(kind, loc[:-1]) if len(loc) > 1 else None
    shape = parent.type.shape if parent is not None else kind
    names = tuple(fields_of(shape)) if shape is not None else ()
    # A field that the mapping already has cannot be the intended one.
    present = _node(document, loc[:-1])
    missing = tuple(item for item in names if not isinstance(present, Map) or item not in present)
    message = f"unknown field {shorten(name)!r}"
    renamed = RENAMED.get((document.kind, tuple(str(item) for item in loc)))
    if renamed is not None:
        expected = f"{renamed!r}, as it is called now; `wecityctl migrate` renames it in the files"
        return problem_at(document, loc, message, expected, on_key=True)
    if elsewhere := _misplaced(kind, loc):
        return problem_at(document, loc, message, elsewhere, on_key=True)
    if loc[-2:-1] == ("limits",) and name == "memory":
        return problem_at(document, loc, message, foreign.FIELDS["requests"], on_key=True)
    if name in foreign.FIELDS:
        return problem_at(document, loc, message, foreign.FIELDS[name], on_key=True)
    return problem_at(document, loc, message, one_of(names), nearest(name, missing), on_key=True)


def _misplaced(kind: type[DocumentSchema], loc: tuple[PathItem, ...]) -> str:
    """Where a field of an App belongs that stands in a component, or the reverse; empty if it is neither."""
    app, component = (find_field(kind, path) for path in (("spec",), ("spec", "components", 0)))
    if app is None or component is None or app.type.shape is None or component.type.shape is None:
        return ""
    name = str(loc[-1])
    if loc[:-1] == ("spec",) and name in fields_of(component.type.shape):
        return foreign.misplaced(name, in_component=False)
    if loc[:-2] == ("spec", "components") and name in fields_of(app.type.shape):
        return foreign.misplaced(name, in_component=True)
    return ""


def _missing_field(document: Document, kind: type[DocumentSchema], loc: tuple[PathItem, ...]) -> Problem | None:
    parent = _node(document, loc[:-1])
    for (renamed_kind, path), new in RENAMED.items():
        if (renamed_kind, (*path[:-1], new)) == (document.kind, loc) and isinstance(parent, Map) and path[-1] in parent:
            # `extra_forbidden` reports it at the old name.
            return None
    field = find_field(kind, loc)
    example = f", such as {_in_yaml(field.examples[0])}" if field is not None and field.examples else ""
    expected = f"{field.type.wanted}{example}" if field is not None else ""
    return problem_at(document, loc, f"required field {str(loc[-1])!r} is missing", expected)


def _wrong_choice(
    document: Document, kind: type[DocumentSchema], loc: tuple[PathItem, ...], value: Any, *, on_key: bool
) -> Problem | None:
    if value is None:
        return None
    # For a mapping's key, the choices are those of the mapping.
    field = find_field(kind, loc[:-1] if on_key else loc)
    choices = () if field is None else field.type.keys if on_key else field.type.choices
    guess = (_SYNONYMS.get(value) or nearest(value, choices)) if isinstance(value, str) else ""
    return problem_at(
        document, loc, f"{describe(value)} is not one of the choices", one_of(choices), guess, on_key=on_key
    )


def _wrong_type(document: Document, loc: tuple[PathItem, ...], value: Any, wanted: str) -> Problem | None:
    if value is None:
        # Reported by the check `empty_values`.
        return None
    if _may_be_secret(loc, value):
        return replace(_wrong_secret(document, loc, value), hides=True)
    if hint := foreign.SHAPES.get((_field_name(loc), _type_of(value)), ""):
        return problem_at(document, loc, f"{describe(value)} is given", hint)
    if wanted == "text" and isinstance(value, Unquoted | bool | int):
        return problem_at(document, loc, f"{describe(value)} is not text", f'"{shorten(_written(value))}" in quotes')
    if wanted == "true or false" and isinstance(value, Unquoted):
        return problem_at(document, loc, f"{describe(value)} is given", wanted, _TRUTH.get(value.text.lower(), ""))
    if wanted == "a whole number" and isinstance(value, Unquoted) and value.kind == NUMBER:
        return problem_at(document, loc, f"{describe(value)} is given", _plain_number(value.text))
    if isinstance(value, str) and "mapping" in wanted and (odd := find_lookalike(value)):
        return problem_at(document, loc, odd.message, odd.expected)
    if isinstance(value, str) and type(resolve_plain(value)) is _PLAIN_TYPES.get(wanted):
        return problem_at(document, loc, f"{describe(value)} is given", f"{wanted}: {value} without quotes")
    return problem_at(document, loc, f"{describe(value)} is given", wanted)


def _plain_number(text: str) -> str:
    digits = text.lstrip("+-")
    if len(digits) > 1 and digits[0] == "0" and digits.isdigit():
        return "a whole number that does not begin with 0, with which some YAML readers take it to be of base 8"
    is_decimal = digits.replace(".", "", 1).isdigit()
    return "a whole number" if is_decimal else "a whole number of digits alone"


def _may_be_secret(loc: tuple[PathItem, ...], value: Any) -> bool:
    """Whether a value of the wrong type stands where people write secrets."""
    if (
        "credentials" in loc[-2:-1]
        or (loc[-1:] == ("secrets",) and isinstance(value, Map))
        or loc[-2:-1] == ("secrets",)
    ):
        return True
    written = _written(value) if isinstance(value, Unquoted | bool | int) else ""
    return loc[-2:-1] == ("env",) and names_a_secret(str(loc[-1]), written)


def _wrong_secret(document: Document, loc: tuple[PathItem, ...], value: Any) -> Problem:
    if loc[-2:-1] == ("env",):
        message = f"{shorten(str(loc[-1]))!r} looks like a secret in clear"
        return problem_at(document, loc, message, "its name in the component's `secrets`")
    hint = foreign.SHAPES.get((_field_name(loc), _type_of(value)), "the name of a secret, which is text")
    message = (
        f"{describe(value)} is given" if isinstance(value, Map | Seq) else "what is given is not the name of a secret"
    )
    return problem_at(document, loc, message, hint)


def _field_name(loc: tuple[PathItem, ...]) -> str:
    """The name of the field at `loc`, or of the list or mapping of which it is an item."""
    names = [item for item in loc if isinstance(item, str)]
    return "credentials" if "credentials" in names[-2:] else names[-1] if names else ""


def _type_of(value: Any) -> str:
    return (
        "mapping"
        if isinstance(value, Map)
        else "list"
        if isinstance(value, Seq)
        else "text"
        if type(value) is str
        else ""
    )


def _written(value: Unquoted | bool | int) -> str:
    return value.text if isinstance(value, Unquoted | SignedInt) else str(value).lower()


def describe(value: Any) -> str:
    """A short description of a value for messages."""
    match value:
        case None:
            return "an empty value"
        case Map():
            return "a mapping"
        case Seq():
            return "a list"
        case Unquoted(kind, text):
            return f"the number {shorten(text)}" if kind == NUMBER else f"{shorten(text)} ({kind} to some YAML readers)"
        case bool():
            return f"the truth value {str(value).lower()}"
        case int():
            return f"the number {_written(value)}"
        case _:
            return f"the text {shorten(str(value))!r}"


def _node(document: Document, path: tuple[PathItem, ...]) -> Any:
    node = document.value
    for item in path:
        if isinstance(node, Map) and item in node:
            node = node[str(item)]
        elif isinstance(node, Seq) and isinstance(item, int) and item < len(node):
            node = node[item]
        else:
            return None
    return node


def _in_yaml(example: Any) -> str:
    if isinstance(example, list):
        return "[" + ", ".join(map(_in_yaml, example)) + "]"
    if isinstance(example, dict):
        return "{" + ", ".join(f"{key}: {_in_yaml(value)}" for key, value in example.items()) + "}"
    return str(example)
