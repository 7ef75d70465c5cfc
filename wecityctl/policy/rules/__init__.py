"""The policy rules: every module of this package that defines a `RULE`."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from pkgutil import iter_modules

from wecityctl.policy.model import Rule


def _found() -> Iterator[Rule]:
    for module in iter_modules(__path__):
        item = getattr(import_module(f"{__name__}.{module.name}"), "RULE", None)
        if item is not None:
            yield item


# In the order of display: rules with a veto first, then mandatory ones, then advisory ones.
RULES: tuple[Rule, ...] = tuple(
    sorted(_found(), key=lambda item: (not item.veto, item.level != "mandatory", item.name)),
)


def rule(name: str) -> Rule:
    """The rule of that name. Raises `StopIteration` when there is none: names in waivers are checked with the files."""
    return next(item for item in RULES if item.name == name)
