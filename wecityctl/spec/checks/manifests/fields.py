"""Types of fields in manifests: what a value must be, and how a wrong one is refused with its place.

A step checks one value. Tables and lists are steps that are made of steps, so that a kind is a table of its fields.
Source of what is allowed: k8s.io/kubernetes/pkg/apis/*/validation, and k8s.io/apimachinery/pkg/util/validation.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, TypeAlias

from pydantic import TypeAdapter, ValidationError

from wecityctl.errors import Problem
from wecityctl.guesses import nearest
from wecityctl.model.city import App, Platform
from wecityctl.model.quantity import parse_quantity
from wecityctl.spec.checks.manifests.reasons import OF_PLATFORMS
from wecityctl.spec.fields import one_of
from wecityctl.spec.nodes import Document, Map, PathItem, Seq, Unquoted, shorten
from wecityctl.spec.schema.refuse import ERROR_TYPE
from wecityctl.spec.translate import describe, problem_at

Path: TypeAlias = tuple[PathItem, ...]
# The largest number of 32 bits, which most numbers of Kubernetes have.
MAX = 2**31 - 1
_PORT_NAME = re.compile(r"(?=.{1,15}\Z)(?=.*[a-z])[a-z0-9]+(?:-[a-z0-9]+)*")
_PERCENT = re.compile(r"[0-9]{1,9}%")
KEY = re.compile(r"(?!\.\.)(?!\.\Z)[-._a-zA-Z0-9]{1,253}")
_VARIABLE = re.compile(r"(?!\.\.)(?!\.\Z)[-._a-zA-Z][-._a-zA-Z0-9]*")
_HEADER = re.compile(r"[-A-Za-z0-9]+")
QUALIFIED = re.compile(
    r"(?:(?=[^/]{1,253}/)[a-z0-9](?:[-a-z0-9]*[a-z0-9])?(?:\.[a-z0-9](?:[-a-z0-9]*[a-z0-9])?)*/)?"
    r"[A-Za-z0-9](?:[-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?"
)


@dataclass(slots=True)
class Checker:
    """Collects the problems of one manifest of `owner`."""

    owner: App | Platform
    document: Document
    problems: list[Problem] = field(default_factory=list)

    @property
    def word(self) -> str:
        """What the owner is."""
        return "app" if isinstance(self.owner, App) else "platform"

    @property
    def a_word(self) -> str:
        """What the owner is, with its article."""
        return "an app" if isinstance(self.owner, App) else "a platform"

    def reason(self, text: str) -> str:
        """A reason as it is said of the owner."""
        if isinstance(self.owner, App):
            return text
        for of_app, of_platform in OF_PLATFORMS.items():
            text = text.replace(of_app, of_platform)
        return text

    def refuse(self, path: Path, message: str, expected: str = "", guess: str = "", *, on_key: bool = False) -> None:
        """Add a problem of the value at `path`."""
        message, expected = self.reason(message), self.reason(expected)
        self.problems.append(problem_at(self.document, path, message, expected, guess, on_key=on_key))

    def given(self, path: Path, value: Any, expected: str) -> None:
        """Refuse a value for what it is."""
        self.refuse(path, f"{describe(value)} is given", expected)

    def mapping(self, path: Path, value: Any) -> Map:
        """The value if it is a mapping; an empty one, and a problem, if it is not."""
        if isinstance(value, Map):
            return value
        self.given(path, value, "a mapping")
        return Map(self.document.start)

    def items(self, path: Path, value: Any) -> Iterator[tuple[Path, Any]]:
        """Yield the items of a list with their paths; nothing, and a problem, if it is none."""
        if not isinstance(value, Seq):
            example = (
                f", such as [{', '.join(value.split())}]" if isinstance(value, str) and 0 < len(value) < 30 else ""
            )
            self.given(path, value, f"a list{example}")
            return
        yield from (((*path, index), item) for index, item in enumerate(value))

    def need(self, path: Path, found: Map, name: str, expected: str = "") -> None:
        """Refuse a mapping without this field."""
        if name not in found:
            self.refuse(path, f"required field {name!r} is missing", expected, on_key=bool(path))

    def once(self, seen: dict[Any, Path], what: Any, path: Path, message: str) -> None:
        """Refuse what was `seen` before, at another place."""
        first = seen.setdefault(what, path)
        if first != path:
            where = self.document.place(first)
            self.refuse(path, f"{message} is given twice (first in {where})", "each once")


Step: TypeAlias = Callable[[Checker, Path, Any], None]
Rule: TypeAlias = Callable[[Checker, Path, Map], None]


@dataclass(frozen=True, slots=True)
class Table:
    """A mapping with known fields, each with its type.

    `needs` are required, exactly one of `one` is, and fields in `refused` are known but refused, each with the reason.
    `rules` see the whole mapping, whose fields may be wrong.
    """

    fields: Mapping[str, Step]
    needs: tuple[str, ...] = ()
    refused: Mapping[str, str] = field(default_factory=dict)
    one: tuple[str, ...] = ()
    rules: tuple[Rule, ...] = ()

    def __call__(self, checker: Checker, path: Path, value: Any) -> None:
        found = checker.mapping(path, value)
        for key, item in found.items():
            here = (*path, key)
            if key in self.refused:
                checker.refuse(here, f"{key} cannot be set: {self.refused[key]}", on_key=True)
            elif key not in self.fields:
                guess = nearest(key, tuple(self.fields))
                expected = one_of(tuple(self.fields))
                checker.refuse(here, f"unknown field {shorten(key)!r}", expected, guess, on_key=True)
            elif item is None:
                checker.refuse(here, "is empty", "a value, or no such field")
            else:
                self.fields[key](checker, here, item)
        if not isinstance(value, Map):
            return
        for each in self.needs:
            step = self.fields[each]
            checker.need(path, found, each, step.expected if isinstance(step, Choice) else "")
        self._exactly_one(checker, path, found)
        for rule in self.rules:
            rule(checker, path, found)

    def _exactly_one(self, checker: Checker, path: Path, found: Map) -> None:
        given = [key for key in found if key in self.one]
        if len(given) > 1:
            message = f"{', '.join(given)} are given"
            checker.refuse((*path, given[1]), message, f"only {one_of(self.one)}", on_key=True)
        elif self.one and not given and all(key in self.fields for key in found):
            checker.refuse(path, "says nothing", one_of(self.one), on_key=True)


def text(checker: Checker, path: Path, value: Any) -> None:
    """Any text."""
    if not isinstance(value, str):
        checker.given(path, value, f'"{shorten(value.text)}" in quotes' if isinstance(value, Unquoted) else "text")


def quoted(checker: Checker, path: Path, value: Any) -> None:
    """Any text, where people often write a number."""
    if not isinstance(value, str):
        checker.given(path, value, "text, in quotes")


def truth(checker: Checker, path: Path, value: Any) -> None:
    """A truth value."""
    if isinstance(value, bool):
        return
    word = value.text if isinstance(value, Unquoted) else str(value)
    meant = {"yes": "true", "on": "true", "true": "true", "no": "false", "off": "false", "false": "false"}
    expected = "true or false, without quotes" if isinstance(value, str) else "true or false"
    checker.refuse(path, f"{describe(value)} is given", expected, meant.get(word.lower(), ""))


def whole(low: int = 0, high: int = MAX, note: str = "") -> Step:
    """A whole number within bounds."""
    bounds = f"a whole number of {low} or more" if high == MAX else f"a whole number from {low} to {high}"
    expected = f"{low if low == high else bounds}{note}"

    def check(checker: Checker, path: Path, value: Any) -> None:
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            checker.given(path, value, expected)

    return check


@dataclass(frozen=True, slots=True)
class Choice:
    """One of some words; `note` is said after them."""

    names: tuple[str, ...]
    note: str = ""

    @property
    def expected(self) -> str:
        """The words as they are listed in messages."""
        return one_of(self.names) + self.note

    def __call__(self, checker: Checker, path: Path, value: Any) -> None:
        if value not in self.names or not isinstance(value, str):
            guess = nearest(value, self.names) if isinstance(value, str) and len(self.names) > 1 else ""
            checker.refuse(path, f"{describe(value)} is given", self.expected, guess)


def choice(*names: str, note: str = "") -> Choice:
    """One of some words."""
    return Choice(names, note)


def matching(pattern: re.Pattern[str], what: str, expected: str) -> Step:
    """Text of a pattern."""

    def check(checker: Checker, path: Path, value: Any) -> None:
        if not isinstance(value, str) or not pattern.fullmatch(value):
            checker.refuse(path, f"{describe(value)} is not {what}", expected)

    return check


def name(limit: int = 63, *, letter_first: bool = False, why: str = "") -> Step:
    """A name of at most `limit` characters, as DNS has them."""
    first = "[a-z]" if letter_first else "[a-z0-9]"
    pattern = re.compile(rf"(?=.{{1,{limit}}}\Z){first}(?:[-a-z0-9]*[a-z0-9])?")
    ends = "a letter first and no hyphen at the end" if letter_first else "no hyphen at either end"
    return matching(pattern, "a name", f"at most {limit} lower-case letters, digits and hyphens, {ends}{why}")


def list_of(step: Step, *unique: str, least: int = 0, most: int = 0) -> Step:
    """A list; no two of its items have the same value in any of the fields `unique`.

    Some lists are merged by that field, and the others refuse what is given twice.
    """

    def check(checker: Checker, path: Path, value: Any) -> None:
        seen: dict[Any, Path] = {}
        for here, item in checker.items(path, value):
            step(checker, here, item)
            for key in unique:
                if isinstance(item, Map) and isinstance(item.get(key), str | int):
                    checker.once(seen, (key, item[key]), (*here, key), f"{key} {_shown(item[key])}")
        if isinstance(value, Seq) and len(value) < least:
            checker.refuse(path, "is empty", "at least one")
        if isinstance(value, Seq) and most and len(value) > most:
            checker.refuse(path, f"has {len(value)} entries", f"at most {most}")

    return check


def _shown(value: Any) -> str:
    return repr(shorten(value)) if isinstance(value, str) else str(value)


def schema(type_: Any) -> Step:
    """Text of a type of the city's own schemas."""
    adapter = TypeAdapter(type_)

    def check(checker: Checker, path: Path, value: Any) -> None:
        if not isinstance(value, str):
            checker.given(path, value, "text")
            return
        try:
            adapter.validate_python(value)
        except ValidationError as error:
            (detail,) = error.errors(include_url=False)
            context = detail["ctx"] if detail["type"] == ERROR_TYPE else {"message": detail["msg"]}
            checker.refuse(path, context["message"], context.get("expected", ""), context.get("suggestion", ""))

    return check


def amount_of(value: Any) -> Decimal | None:
    """The value of a quantity, which may be written as a number; `None` for anything else."""
    words = value.text if isinstance(value, Unquoted) else str(value)
    try:
        return None if isinstance(value, bool | Map | Seq) else parse_quantity(words)
    except ValueError:
        return None


def quantity(checker: Checker, path: Path, value: Any) -> None:
    """A quantity above 0."""
    found = amount_of(value)
    if found is None or not 0 < found < 2**63:
        checker.refuse(path, f"{describe(value)} is not an amount", "such as 500m or 512Mi")


def count_or_percent(most: int = MAX, least: int = 0) -> Step:
    """A whole number or a share of all, such as 25%, of at most `most` percent."""
    limit = "" if most == MAX else f" of at most {most}%"

    def check(checker: Checker, path: Path, value: Any) -> None:
        number = isinstance(value, int) and not isinstance(value, bool) and least <= value <= MAX
        share = isinstance(value, str) and _PERCENT.fullmatch(value) and least <= int(value[:-1]) <= most
        if not number and not share:
            checker.given(path, value, f'a whole number of {least} or more, or a share such as "25%"{limit}')

    return check


def content(checker: Checker, path: Path, value: Any) -> None:
    """Bytes in base64."""
    if not isinstance(value, str):
        checker.given(path, value, "text")
        return
    try:
        # Line breaks are left out, as the API server does.
        base64.b64decode(re.sub(r"[\r\n]", "", value), validate=True)
    except (binascii.Error, ValueError):
        checker.refuse(path, f"{describe(value)} is not base64", "bytes in base64; text belongs under `data`")


def port_or_name(checker: Checker, path: Path, value: Any) -> None:
    """A port's number, or the name of one."""
    (port_name if isinstance(value, str) else port)(checker, path, value)


port = whole(1, 65535)
filled = matching(re.compile(r".+", re.DOTALL), "such a text", "text that is not empty")
segment = matching(re.compile(r"(?!\.{1,2}\Z)[^/%]+"), "a name", "a name without / and %")
label_value = matching(
    re.compile(r"(?:[A-Za-z0-9](?:[-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?"),
    "the value of a label",
    "at most 63 letters, digits, hyphens, dots and underscores, a letter or digit at either end",
)
port_name = matching(_PORT_NAME, "a port's name", "at most 15 lower-case letters, digits and hyphens, with a letter")
key = matching(KEY, "a key", "letters, digits, hyphens, dots and underscores, not beginning with '..'")
variable = matching(_VARIABLE, "a variable's name", "letters, digits, _, - and dots, no digit first")
header = matching(_HEADER, "a header's name", "letters, digits and hyphens")
qualified = matching(QUALIFIED, "a name", "letters, digits, hyphens and dots, such as example.org/name")
texts = list_of(text)
words = list_of(quoted)
tcp = choice("TCP", note=": flows between zones and apps are of TCP")
