"""The reference page of the city's files, from the same shapes that read them."""

from pydantic import BaseModel

from wecityctl.spec.explain import in_yaml
from wecityctl.spec.fields import FieldDoc, fields_of
from wecityctl.spec.schema import API_VERSION, KINDS

_HEAD = f"""# The city's files

Generated from the code by `make schema`; do not edit. `wecityctl explain FIELD` says the same on the command line, and
[city.schema.json](city.schema.json) is for editors: with the YAML language server, put its path in a file's first line,
`# yaml-language-server: $schema=<path>`.

A city is one file or a directory of `*.yaml` and `*.yml`, subdirectories included, hidden files left out. A file
may have several documents. Each has `apiVersion: {API_VERSION}`, a `kind`, `metadata` and `spec`. Unknown fields are
errors.
"""


def spec_page() -> str:
    """The whole page, as Markdown."""
    return _HEAD + "".join(_kind(name, shape) for name, shape in KINDS.items())


def _kind(name: str, shape: type[BaseModel]) -> str:
    fields = fields_of(shape)
    text = f"\n## {name}\n\n{_sentence(shape)}\n"
    for part in ("metadata", "spec"):
        below = fields[part].type.shape
        if below is not None:
            text += _shape(f"{name.lower()}.{part}", below)
    return text


def _shape(path: str, shape: type[BaseModel]) -> str:
    fields = fields_of(shape).values()
    rows = "".join(_row(field) for field in fields)
    text = f"\n### `{path}`\n\n{_sentence(shape)}\n\n| Field | Type | Default | |\n| --- | --- | --- | --- |\n{rows}"
    for field in fields:
        if field.type.shape is not None:
            many = "[]" if field.type.container == "list" else ""
            text += _shape(f"{path}.{field.name}{many}", field.type.shape)
    return text


def _row(field: FieldDoc) -> str:
    example = f" Example: `{in_yaml(field.examples[0])}`" if field.examples else ""
    empty = field.default in (None, "", [], {}) or field.type.shape is not None
    default = "required" if field.required else "" if empty else f"`{in_yaml(field.default)}`"
    return f"| `{field.name}` | {field.type.title} | {default} | {field.description}{example} |\n"


def _sentence(shape: type[BaseModel]) -> str:
    return " ".join((shape.__doc__ or "").split())
