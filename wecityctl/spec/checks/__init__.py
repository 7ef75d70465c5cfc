"""Checks across documents: small functions from the parsed city to problems, found in the modules of this package.

A module lists its own: `CHECKS` run over documents that fit their schema. `REFERENCE_CHECKS` look at one value each and
at names that are declared, so that they may also run over documents with stand-ins for what is wrong.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from importlib import import_module
from pkgutil import iter_modules

from wecityctl.errors import Problem
from wecityctl.spec.checks.check import Check
from wecityctl.spec.parsed_city import ParsedCity


def run_checks(parsed_city: ParsedCity) -> Iterator[Problem]:
    """Every problem that the checks find in documents that fit their schema."""
    for check in _listed("CHECKS"):
        yield from check(parsed_city)


def check_references(parsed_city: ParsedCity) -> Iterator[Problem]:
    """The same of the checks that may look at documents with stand-ins for what is wrong."""
    for check in _listed("REFERENCE_CHECKS"):
        yield from check(parsed_city)


@cache
def _listed(table: str) -> tuple[Check, ...]:
    """The checks in `table` of every module here, the modules in the order of their names."""
    modules = (import_module(f"{__name__}.{found.name}") for found in iter_modules(__path__))
    return tuple(check for module in modules for check in getattr(module, table, ()))
