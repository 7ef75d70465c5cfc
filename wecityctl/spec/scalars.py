"""Reads plain (unquoted) YAML scalars as text, null, boolean or whole number.

YAML versions disagree on the rest: `no` is false in 1.1 and text in 1.2; `12:30` is 750 in 1.1. Such scalars become
`Unquoted`. Fields reject that value with the advice to quote it, except those that take any number.
"""

from __future__ import annotations

import re

from wecityctl.spec.nodes import SignedInt, Unquoted

NUMBER = "a number"
_WORDS: dict[str, object] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
    **{
        word: Unquoted("true or false", word)
        for lower in ("yes", "no", "on", "off")
        for word in {lower, lower.capitalize(), lower.upper()}
    },
}
# At most 15 digits, which every JSON and YAML reader keeps exactly.
_INTEGER = re.compile(r"[-+]?(?:0|[1-9][0-9]{0,14})")
_NUMBER = re.compile(
    r"[-+]?(?:[0-9][0-9_]*(?:\.[0-9_]*)?|\.[0-9][0-9_]*)(?:[eE][-+]?[0-9]+)?"
    r"|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)|[-+]?0o?[0-7_]+|[-+]?0x[0-9a-fA-F_]+|[-+]?0b[01_]+"
)
_SEXAGESIMAL = re.compile(r"[-+]?[0-9][0-9_]*(?::[0-5]?[0-9])+(?:\.[0-9_]*)?")
_DATE = re.compile(r"[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}(?:(?:[Tt]|[ \t]+)[0-9]{1,2}:[0-9]{2}:[0-9]{2}.*)?")


def resolve_plain(text: str) -> object:
    """The value of a plain scalar: `str`, `int`, `bool`, `None` or `Unquoted`."""
    if text in _WORDS:
        return _WORDS[text]
    if text[0] not in "+-.0123456789":
        return text
    if _INTEGER.fullmatch(text):
        return SignedInt.read(text) if text[0] == "+" or text == "-0" else int(text)
    if _NUMBER.fullmatch(text):
        return Unquoted(NUMBER, text)
    if _SEXAGESIMAL.fullmatch(text):
        return Unquoted("a number in base 60", text)
    if _DATE.fullmatch(text):
        return Unquoted("a date", text)
    return text
