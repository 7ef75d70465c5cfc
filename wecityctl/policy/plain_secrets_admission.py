"""The rule `plain-secrets` in a cluster: one policy for pods, one for ConfigMaps, by the same patterns as the rule."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterator, Mapping

from wecityctl.model.city import City
from wecityctl.model.disclosure import (
    CONNECTION_PATTERN,
    FLAG_AND_VALUE_PATTERN,
    FLAG_PATTERN,
    JSON_PATTERN,
    NAME_PATTERN,
    SWITCHES,
    TEXT_PATTERN,
)
from wecityctl.policy.admission import SPEC_CHANGED, WORKLOADS, Validation, policy, quote, resources
from wecityctl.policy.model import Manifest

NAME = "plain-secrets"
# Bytes of a ConfigMap that the API server's budget for an expression lets a pattern read; a larger one is searched for
# private keys alone.
LARGEST = 400_000
# The same for connection strings, whose pattern is longer, and of one variable or word of a command line for all
# patterns but the one for keys and URLs.
LARGEST_WITH_CONNECTIONS = 200_000
LONGEST = 4_000
_KEY_MARK = "PRIVATE KEY-----"


def admission(city: City, _: Mapping[str, str]) -> Iterator[Manifest]:
    """Literal environment variables, command lines and ConfigMaps that give a secret away are refused."""
    value = "e.?value.orValue('')"
    variable = f"({_named('e.name', value)} || {_holds(value)} || {_in_value(value)})"
    words = "(c.?command.orValue([]) + c.?args.orValue([]))"
    pairs = f"{words}.filter(w, size(w) < 200 && !w.contains('\\n')).join('\\n')"
    yield from policy(
        city,
        NAME,
        WORKLOADS,
        [
            Validation(
                "size(variables.open) == 0",
                "a container has a secret in clear in its environment or command; take it from a Secret (secretKeyRef)",
                "variables.open.map(c, c.name).join(', ')",
            )
        ],
        variables=("spec", "containers"),
        more_variables={
            "open": (
                f"variables.containers.filter(c, c.?env.orValue([]).exists(e, {variable})"
                f" || {words}.exists(w, {_holds('w')} || {_in_value('w')} || {_option('w')})"
                f" || {pairs}.matches({quote(FLAG_AND_VALUE_PATTERN)}))"
            ),
        },
        conditions=(SPEC_CHANGED,),
    )
    told = "a ConfigMap has a secret in clear; put it into a Secret"
    content, binary = "variables.data[k]", "variables.binary[k]"
    yield from policy(
        city,
        NAME,
        [resources("", "configmaps")],
        [
            Validation(
                f"!variables.data.exists(k, {_named('k', content)} || {_holds(content, 'variables.readable')})", told
            ),
            Validation(
                f"variables.bytes >= {LARGEST_WITH_CONNECTIONS} || !variables.data.exists(k, {_connects(content)})",
                told,
            ),
            Validation(f"!variables.binary.exists(k, {_named('k', binary)} || {_holds_key_in_base64(binary)})", told),
        ],
        more_variables={
            "data": "dyn(object).?data.orValue({})",
            "binary": "dyn(object).?binaryData.orValue({})",
            "bytes": "variables.data.map(k, size(variables.data[k])).sum()",
            "readable": f"variables.bytes < {LARGEST}",
        },
        name=f"{NAME}-in-files",
    )


def _named(name: str, value: str) -> str:
    """`disclosure.names_a_secret` as an expression."""
    switch = f"{value}.lowerAscii() in {quote(SWITCHES)}"
    return f"({value} != '' && {name}.matches({quote(NAME_PATTERN)}) && !({switch}))"


def _holds(value: str, readable: str = "true") -> str:
    """Whether a text has a private key or a URL with a password in it."""
    return (
        f"({value}.contains({quote(_KEY_MARK)})"
        f" || ({readable} && {value}.contains('://') && {value}.matches({quote(TEXT_PATTERN)})))"
    )


def _connects(value: str) -> str:
    """Whether a text has a connection string with a password in it."""
    return f"({value}.contains('=') && {value}.matches({quote(CONNECTION_PATTERN)}))"


def _in_value(value: str) -> str:
    """What `disclosure.value_holds_a_secret` finds beside keys and URLs, in a text of ordinary length."""
    json = f"({value}.contains('{{') && {value}.matches({quote(JSON_PATTERN)}))"
    return f"(size({value}) < {LONGEST} && ({_connects(value)} || {json}))"


def _option(word: str) -> str:
    """Whether a word is an option with a secret for its value, and no switch."""
    switch = f"{word}.split('=')[size({word}.split('=')) - 1].lowerAscii() in {quote(SWITCHES)}"
    return (
        f"({word}.startsWith('-') && size({word}) < {LONGEST} && {word}.matches({quote(FLAG_PATTERN)}) && !({switch}))"
    )


def _holds_key_in_base64(value: str) -> str:
    """Whether a private key is in what the text encodes: its mark, at each of the three places in a group of bytes."""
    marks = [b64encode(b" " * shift + _KEY_MARK.encode()).decode()[cut:-4] for shift, cut in ((0, 0), (1, 4), (2, 4))]
    return f"({' || '.join(f'{value}.contains({quote(mark)})' for mark in marks)})"
