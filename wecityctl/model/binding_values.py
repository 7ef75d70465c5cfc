"""References to entries of bindings in the values of environment variables: `${ALIAS.KEY}`.

What has no dot between the braces, such as `${HOME}`, is text; `$${` is `${` wherever it stands. The values of `env`
are the only texts in which a reference is replaced. Pure functions, shared
by the checks of the files and by the stacks.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from wecityctl.model.catalogue import CapabilityType
from wecityctl.model.variables import secret_variable

# A doubled dollar before a brace, what has a dot between braces, or a reference that is not closed.
_TOKEN = re.compile(r"\$\$\{|\$\{(?P<inside>[^}.]*\.[^}]*)\}|\$\{[a-z0-9][-a-z0-9]*\.[^}]*\Z")
_REFERENCE = re.compile(r"(?P<alias>[a-z0-9][-a-z0-9]*)\.(?P<key>[A-Za-z0-9][-A-Za-z0-9._]*)")


@dataclass(frozen=True, slots=True)
class Reference:
    """The entry `key` of the binding `alias`."""

    alias: str
    key: str


@dataclass(frozen=True, slots=True)
class Invalid:
    """What looks like a reference and is none; `text` is what the file has there."""

    text: str


def parts(value: str) -> Iterator[str | Reference | Invalid]:
    """Yield the texts and references that `value` consists of, in order; texts as they are to arrive."""
    end = 0
    for match in _TOKEN.finditer(value):
        if match.start() > end:
            yield value[end : match.start()]
        end = match.end()
        if match[0] == "$${":
            yield "${"
            continue
        found = _REFERENCE.fullmatch(match["inside"] or "")
        yield Reference(found["alias"], found["key"]) if found is not None else Invalid(match[0])
    if end < len(value):
        yield value[end:]


def references(value: str) -> list[Reference]:
    """The references in `value`."""
    return [part for part in parts(value) if isinstance(part, Reference)]


def variable_of(reference: Reference) -> str:
    """The variable that holds an entry of which a value is put together: `BINDING_DB_URI` for `${db.uri}`."""
    return f"BINDING_{secret_variable(reference.alias)}_{secret_variable(reference.key)}"


def is_entry_itself(value: str) -> bool:
    """Whether a value is one reference and no other text, so that it needs no variable beside it."""
    found = list(parts(value))
    return len(found) == 1 and isinstance(found[0], Reference)


def entries_of(kind: CapabilityType, *, is_tls: bool) -> tuple[str, ...]:
    """The keys of a binding to an instance of the type."""
    own = kind.binding.keys if kind.binding is not None else ()
    return ("type", "provider", "host", "port", *own, *(("ca.crt",) if is_tls else ()))
