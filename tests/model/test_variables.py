"""Texts that Kubernetes expands: what a container gets is what was written."""

from __future__ import annotations

from collections.abc import Mapping

from hypothesis import given
from hypothesis import strategies as st

from wecityctl.model.variables import literal, secret_variable


def expand(text: str, variables: Mapping[str, str]) -> str:
    """What Kubernetes makes of `text`, in its own steps.

    Source: k8s.io/kubernetes/third_party/forked/golang/expansion/expand.go.
    """
    result, position = "", 0
    while position < len(text):
        character, rest = text[position], text[position + 1 :]
        if character != "$" or not rest:
            result, position = result + character, position + 1
        elif rest[0] == "$":
            result, position = result + "$", position + 2
        elif rest[0] == "(" and ")" in rest:
            name = rest[1 : rest.index(")")]
            result, position = result + variables.get(name, f"$({name})"), position + len(name) + 3
        else:
            result, position = result + "$" + rest[0], position + 2
    return result


def test_kubernetes_alters_what_is_not_escaped() -> None:
    assert expand("$(APP) $$ $(other) $x", {"APP": "bus"}) == "bus $ $(other) $x"


@given(st.text(alphabet="$()A x", max_size=12))
def test_what_is_written_arrives(text: str) -> None:
    assert expand(literal(text), {"A": "expanded", "": "nothing", "A x": "odd"}) == text


def test_what_needs_no_escape_stays_as_it_is() -> None:
    for text in ("", "$", "$HOME", "${HOME}", "a$", "cost: 5$ (net)"):
        assert literal(text) == text


def test_variables_of_secrets() -> None:
    assert secret_variable("sms-key") == "SMS_KEY"
