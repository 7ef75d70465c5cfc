"""The rule `plain-secrets` in a cluster: one policy for pods, one for ConfigMaps, by the same patterns as the rule."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from wecityctl.model.city import City
from wecityctl.model.disclosure import NAME_PATTERN, TEXT_PATTERN
from wecityctl.policy.admission import SPEC_CHANGED, WORKLOADS, Validation, policy, quote, resources
from wecityctl.policy.model import Manifest

NAME = "plain-secrets"
# Bytes of a ConfigMap that the API server's budget for an expression lets a pattern read; a larger one is searched for
# private keys alone.
LARGEST = 400_000


def admission(city: City, _: Mapping[str, str]) -> Iterator[Manifest]:
    """Literal environment variables, command lines and ConfigMaps that give a secret away are refused."""
    variable = _gives_away("e.name", "e.?value.orValue('')")
    words = "(c.?command.orValue([]) + c.?args.orValue([]))"
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
                f" || {words}.exists(w, {_holds('w')}))"
            ),
        },
        conditions=(SPEC_CHANGED,),
    )
    yield from policy(
        city,
        NAME,
        [resources("", "configmaps")],
        [
            Validation(
                f"!variables.data.exists(k, {_gives_away('k', 'variables.data[k]', 'variables.readable')})",
                "a ConfigMap has a secret in clear; put it into a Secret",
            )
        ],
        more_variables={
            "data": "dyn(object).?data.orValue({})",
            "readable": f"variables.data.map(k, size(variables.data[k])).sum() < {LARGEST}",
        },
        name=f"{NAME}-in-files",
    )


def _gives_away(name: str, value: str, readable: str = "true") -> str:
    """`wecityctl.model.disclosure` as an expression."""
    named = f"{value} != '' && {name}.matches({quote(NAME_PATTERN)}) && !({value}.lowerAscii() in ['true', 'false'])"
    return f"(({named}) || {_holds(value, readable)})"


def _holds(value: str, readable: str = "true") -> str:
    """Whether a text has a private key or a URL with a password in it."""
    return (
        f"({value}.contains('PRIVATE KEY-----')"
        f" || ({readable} && {value}.contains('://') && {value}.matches({quote(TEXT_PATTERN)})))"
    )
