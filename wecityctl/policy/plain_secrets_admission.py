"""Enforces the rule `plain-secrets` in a cluster: policies for pods and for ConfigMaps, with the rule's patterns.

The API server limits the cost of an expression, also that of a variable, to one million units. For each four characters
of its own, a pattern reads ten characters per unit. So each pattern has an expression of its own and is applied only to
texts that are short enough.
"""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Iterator, Mapping

from wecityctl.model import disclosure
from wecityctl.model.city import City
from wecityctl.policy.admission import SPEC_CHANGED, WORKLOADS, Validation, policy, quote, resources
from wecityctl.policy.model import Manifest

NAME = "plain-secrets"
# The maximum cost of a pattern in the API server's units; the rest is for the expression around it.
AFFORDABLE = 800_000
# Variables and words of a command line up to this length are checked by all patterns; longer ones only by the patterns
# for keys and URLs.
LONGEST = 4_000
_KEY_MARK = "PRIVATE KEY-----"
# Only texts with one of these words are checked by the patterns.
_WORDS = "(?i)PASS|PWD|SECRET|TOKEN|KEY|CREDENTIAL|SIG="
_TOKENS = "AKI[AD]|LTAI|gh[pousr]_|github_|glpat-|xox|eyJ"


def admission(city: City, _: Mapping[str, str]) -> Iterator[Manifest]:
    """Rejects environment variables, command lines and ConfigMaps that contain a secret in plain text."""
    yield from policy(
        city,
        NAME,
        WORKLOADS,
        [
            Validation(
                f"size(variables.{found}) == 0",
                "a container has a secret in clear in its environment or command; take it from a Secret (secretKeyRef)",
                f"variables.{found}.map(c, c.name).join(', ')",
            )
            for found in _IN_PODS
        ],
        variables=("spec", "containers"),
        more_variables={found: f"variables.containers.filter(c, {text})" for found, text in _IN_PODS.items()},
        conditions=(SPEC_CHANGED,),
    )
    yield from policy(
        city,
        NAME,
        [resources("", "configmaps")],
        [Validation(text, "a ConfigMap has a secret in clear; put it into a Secret") for text in _in_files()],
        more_variables={
            "data": "dyn(object).?data.orValue({})",
            "binary": "dyn(object).?binaryData.orValue({})",
            "bytes": "variables.data.map(k, size(variables.data[k])).sum()",
        },
        name=f"{NAME}-in-files",
    )


def readable(pattern: re.Pattern[str]) -> int:
    """The maximum length of a text, in characters, that the pattern can read within its cost limit."""
    return AFFORDABLE * 10 // -(-len(pattern.pattern) // 4)


def _in_files() -> Iterator[str]:
    """The conditions for a ConfigMap without secrets, one expression for each pattern that reads its content."""
    text, binary = "variables.data[k]", "variables.binary[k]"
    key = f"{text}.contains({quote(_KEY_MARK)})"
    yield f"!variables.data.exists(k, {_named('k', text)} || {key})"
    yield f"!variables.binary.exists(k, {_named('k', binary)} || {_holds_key_in_base64(binary)})"
    plain = f"{_matches('k', disclosure.CONFIGURATION)} && !{_matches('k', disclosure.TRANSLATION)}"
    for pattern, found in (
        (disclosure.TEXT, f"{text}.contains('://') && {_matches(text, disclosure.TEXT)}"),
        (disclosure.CONNECTION, _connects(text)),
        (disclosure.QUERY, _asks(text)),
        (disclosure.TOKEN, _matches(text, disclosure.TOKEN)),
        (disclosure.AUTHORIZATION, _authorizes(text)),
        (disclosure.VARIABLE, _assigns(text)),
        (disclosure.SETTING, _sets(text, plain)),
    ):
        yield f"variables.bytes >= {readable(pattern)} || !variables.data.exists(k, {found})"


def _matches(value: str, pattern: re.Pattern[str]) -> str:
    return f"{value}.matches({quote(pattern.pattern)})"


def _finds(value: str, pattern: re.Pattern[str], condition: str) -> str:
    """An expression: one of the pattern's matches in a text, `m`, meets the condition."""
    return f"{value}.findAll({quote(pattern.pattern)}).exists(m, {condition})"


def _named(name: str, value: str) -> str:
    """`disclosure.names_a_secret` as an expression."""
    clear = f"(size({value}) >= {LONGEST} || !{_matches(value, disclosure.NO_VALUE)})"
    return f"({_matches(name, disclosure.NAME)} && {clear})"


def _holds(value: str) -> str:
    """An expression: the text contains a private key or a URL with a password."""
    url = f"{value}.contains('://') && {_matches(value, disclosure.TEXT)}"
    return f"({value}.contains({quote(_KEY_MARK)}) || ({url}))"


def _connects(value: str) -> str:
    """An expression: the text contains a connection string with a password."""
    return f"({value}.contains('=') && {_matches(value, disclosure.CONNECTION)})"


def _asks(value: str) -> str:
    """An expression: the text contains a URL with a secret in its query."""
    return f"({value}.contains('=') && {_matches(value, disclosure.QUERY)})"


def _authorizes(value: str) -> str:
    """An expression: the text contains an `Authorization` header with credentials."""
    return f"({_finds(value, disclosure.AUTHORIZATION, _matches('m', disclosure.CREDENTIALS))})"


def _assigns(value: str) -> str:
    """An expression: the text assigns a secret to a shell variable."""
    clear = f"!{_matches('m', disclosure.NO_SECRET)}"
    return f"({value}.contains('=') && {_finds(value, disclosure.VARIABLE, clear)})"


def _sets(value: str, plain: str) -> str:
    """An expression: the text has a setting whose value is a secret; with `plain`, a password may be any word."""
    password = f"{_matches('m', disclosure.OF_PASSWORD)} && !{_matches('m', disclosure.LABEL)}"
    shaped = f"{_matches('m', disclosure.LONG)} && {_matches('m', disclosure.DIGIT)}"
    clear = f"{_matches('m', disclosure.ONE_WORD)} && !{_matches('m', disclosure.NO_SECRET)}"
    return f"({_finds(value, disclosure.SETTING, f'{clear} && (({plain} && {password}) || ({shaped}))')})"


def _in_json(value: str) -> str:
    clear = f"!{_matches('m', disclosure.NO_SECRET)}"
    return f"({value}.contains('{{') && {_finds(value, disclosure.JSON, clear)})"


def _option(word: str) -> str:
    """An expression: the word is an option with a secret as its value, and no switch."""
    clear = f"!{_matches(word, disclosure.NO_SECRET)}"
    return f"({word}.startsWith('-') && size({word}) < {LONGEST} && {_matches(word, disclosure.FLAG)} && {clear})"


def _holds_key_in_base64(value: str) -> str:
    """An expression: the base64 text encodes a private key. Its marker is tried at all three byte offsets."""
    marks = [b64encode(b" " * shift + _KEY_MARK.encode()).decode()[cut:-4] for shift, cut in ((0, 0), (1, 4), (2, 4))]
    return f"({' || '.join(f'{value}.contains({quote(mark)})' for mark in marks)})"


_WORDS_OF_COMMAND = "(c.?command.orValue([]) + c.?args.orValue([]))"
_PAIRS = f"{_WORDS_OF_COMMAND}.filter(w, size(w) < 200 && !w.contains('\\n')).join('\\n')"
_VALUE = "e.?value.orValue('')"
# The values of a container's variables, and the words of its command line.
_VALUES = f"(c.?env.orValue([]).map(e, {_VALUE}) + {_WORDS_OF_COMMAND})"


def _values_with(mark: str, *found: str) -> str:
    """An expression: a value `w` of ordinary length contains the mark and meets one of the `found` conditions."""
    return f"{_VALUES}.exists(w, size(w) < {LONGEST} && w.matches({quote(mark)}) && ({' || '.join(found)}))"


# The checks on a container of a pod; each has a cost limit of its own.
_IN_PODS: Mapping[str, str] = {
    "named": (
        f"c.?env.orValue([]).exists(e, {_named('e.name', _VALUE)})"
        f" || {_WORDS_OF_COMMAND}.exists(w, {_option('w')})"
        f" || {_PAIRS}.matches({quote(disclosure.FLAG_AND_VALUE.pattern)})"
    ),
    "holding": f"{_VALUES}.exists(w, {_holds('w')})",
    "connecting": _values_with(_WORDS, _connects("w"), _in_json("w"), _asks("w")),
    "setting": _values_with(_WORDS, _assigns("w"), _sets("w", "true")),
    "authorized": _values_with("(?i)authorization", _matches("w", disclosure.AUTHORIZATION)),
    "signed": _values_with(_TOKENS, _matches("w", disclosure.TOKEN)),
}
