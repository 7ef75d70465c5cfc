"""Checks `spec.expected` of a Cloud, the objects that the cloud's owner may put into the city's namespaces."""

from __future__ import annotations

from collections.abc import Iterator

from wecityctl.errors import Problem
from wecityctl.guesses import nearest
from wecityctl.model.kinds import LOOKED_FOR, gives_or_opens, groups_of
from wecityctl.model.patterns import is_broad
from wecityctl.spec.checks.check import Check
from wecityctl.spec.parsed_city import ParsedCity


def kinds_and_names(parsed_city: ParsedCity) -> Iterator[Problem]:
    """Each entry names a kind that drift detection lists, in an API group that has it.

    For kinds that grant rights or open the network, the name pattern must be narrower than `h*`.
    """
    kinds = sorted({kind for _, kind in LOOKED_FOR})
    for cloud in parsed_city.clouds:
        for index, item in enumerate(cloud.value.expected):
            path = ("spec", "expected", index)
            if item.kind not in kinds:
                message = f"objects of kind {item.kind!r} are not looked for"
                yield cloud.problem((*path, "kind"), message, "a kind that is", nearest(item.kind, kinds))
            elif (item.group, item.kind) not in LOOKED_FOR:
                groups = groups_of(item.kind)
                message = f"no {item.kind} is looked for in the API group {item.group!r}"
                yield cloud.problem((*path, "group"), message, " or ".join(map(repr, groups)))
            elif is_broad(item.name) and gives_or_opens(item.group, item.kind):
                message = f"{item.name!r} would let pass {item.kind} objects that anybody makes"
                yield cloud.problem((*path, "name"), message, "the beginning of the owner's names, such as owner-*")


CHECKS: tuple[Check, ...] = (kinds_and_names,)
