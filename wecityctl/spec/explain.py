"""Describes kinds and fields in words, for the `explain` command and the generated reference page."""

from __future__ import annotations

import json
import textwrap
from dataclasses import dataclass
from typing import Any

from wecityctl.errors import ConfigurationError
from wecityctl.guesses import nearest
from wecityctl.spec.fields import FieldDoc, fields_of, walk
from wecityctl.spec.renamed_fields import RENAMED
from wecityctl.spec.schema import KINDS
from wecityctl.spec.schema.base import Schema


@dataclass(frozen=True, slots=True)
class Topic:
    """A kind (`field` is `None`) or one of its fields, with the schema of the fields below it."""

    kind: str
    path: tuple[str, ...]
    field: FieldDoc | None
    shape: type[Schema] | None

    @property
    def name(self) -> str:
        return ".".join((self.kind.lower(), *self.path))

    @property
    def children(self) -> tuple[FieldDoc, ...]:
        return tuple(fields_of(self.shape).values()) if self.shape is not None else ()


def find_topic(text: str) -> Topic:
    """Find the kind or field that `text` names, such as `app` or `app.spec.uses`.

    Raises `ConfigurationError` with the nearest name.
    """
    first, *rest = text.strip().replace("[]", "").split(".")
    kinds = {name.lower(): name for name in KINDS}
    kind = (
        kinds.get(first.lower())
        or kinds.get(first.lower().removesuffix("s"))
        or ("City" if first.lower() == "cities" else "")
    )
    if not kind:
        raise _unknown(first, "kind of document", tuple(kinds))
    shape: Any = KINDS[kind]
    field: FieldDoc | None = None
    for number, name in enumerate(rest):
        fields = fields_of(shape) if shape is not None else {}
        if name not in fields:
            where = ".".join((kind.lower(), *rest[:number]))
            if not fields:
                raise ConfigurationError(f"{where} has no fields", resolution=f"wecityctl explain {where}")
            new = RENAMED.get((kind, tuple(rest[: number + 1])))
            if new is not None:
                raise ConfigurationError(
                    f"{name!r} is not a field of {where}: it was renamed to {new!r}",
                    resolution=f"wecityctl explain {where}.{new}; `wecityctl migrate` renames it in the files",
                )
            raise _unknown(name, f"field of {where}", tuple(fields), prefix=f"{where}.")
        field = fields[name]
        shape = field.type.shape
    return Topic(kind, tuple(rest), field, shape)


def kinds_text() -> str:
    """A list of all kinds with one line about each."""
    rows = [f"  {name.lower():<10}{_first_line(shape.__doc__)}" for name, shape in KINDS.items()]
    return "\n".join(
        ["KINDS:", *rows, "", "See `wecityctl explain KIND`, or a field of it: `wecityctl explain app.spec`."]
    )


def topic_text(topic: Topic, *, recursive: bool = False) -> str:
    """The topic for a terminal: a description, then the fields below it."""
    head = [f"KIND:     {topic.kind}"]
    if topic.field is not None:
        required = ", required" if topic.field.required else ""
        head.append(f"FIELD:    {'.'.join(topic.path)} <{topic.field.type.title}>{required}")
    lines = [*head, "", "DESCRIPTION:", *(line for text in _descriptions(topic) for line in _indented(text, 4))]
    if topic.field is not None:
        lines += _facts(topic.field)
    if topic.children:
        lines += ["", "FIELDS:"]
        if recursive and topic.shape is not None:
            lines += [f"  {'  ' * path.count('.')}{path.rpartition('.')[2]}" for path in walk(topic.shape)]
        else:
            for child in topic.children:
                lines += _child(child)
    return "\n".join(lines)


def topic_json(topic: Topic) -> dict[str, Any]:
    """The topic as JSON values."""
    field = topic.field
    return {
        "kind": topic.kind,
        "path": ".".join(topic.path),
        "type": field.type.title if field is not None else "object",
        "description": " ".join(_descriptions(topic)),
        "required": field.required if field is not None else True,
        "default": field.default if field is not None else None,
        "enum": list(field.type.choices) if field is not None else [],
        "examples": list(field.examples) if field is not None else [],
        "fields": [
            {"name": child.name, "type": child.type.title, "required": child.required, "description": child.description}
            for child in topic.children
        ],
    }


def topics() -> list[str]:
    """The dotted names of all kinds and fields, such as `app.spec.uses`, for shell completion."""
    found: list[str] = []
    for name, shape in KINDS.items():
        found += [name.lower(), *walk(shape, name.lower())]
    return found


def in_yaml(value: Any) -> str:
    """A default or example as it is written in a YAML file."""
    match value:
        case str():
            plain = value and all(character.isalnum() or character in "-_./@:" for character in value)
            return value if plain and not value[0].isdigit() else json.dumps(value, ensure_ascii=False)
        case list():
            return "[" + ", ".join(map(in_yaml, value)) + "]"
        case dict():
            return "{" + ", ".join(f"{key}: {in_yaml(item)}" for key, item in value.items()) + "}"
        case _:
            return json.dumps(value)


def _descriptions(topic: Topic) -> list[str]:
    """The description of the field, and that of its schema if it has one."""
    texts = [topic.field.description] if topic.field is not None else []
    texts += [_first_line(topic.shape.__doc__)] if topic.shape is not None else []
    return list(dict.fromkeys(text for text in texts if text))


def _facts(field: FieldDoc) -> list[str]:
    lines: list[str] = []
    if field.type.choices:
        lines += ["", "ONE OF:", *(f"    {choice}" for choice in field.type.choices)]
    if not field.required and field.default not in (None, "", [], {}):
        lines += ["", f"DEFAULT:  {in_yaml(field.default)}"]
    if field.examples:
        lines += ["", f"EXAMPLE:  {field.name}: {in_yaml(field.examples[0])}"]
    return lines


def _child(child: FieldDoc) -> list[str]:
    required = "  -required-" if child.required else ""
    return [f"  {child.name}  <{child.type.title}>{required}", *_indented(child.description, 6)]


def _indented(text: str, width: int) -> list[str]:
    return textwrap.wrap(text, 100, initial_indent=" " * width, subsequent_indent=" " * width)


def _first_line(text: str | None) -> str:
    return " ".join((text or "").split())


def _unknown(name: str, what: str, names: tuple[str, ...], prefix: str = "") -> ConfigurationError:
    near = nearest(name, names)
    hint = f"did you mean {prefix + near!r}?" if near else f"one of: {', '.join(names)}"
    return ConfigurationError(f"{name!r} is not a {what}", details=f"it has {', '.join(names)}", resolution=hint)
