"""Runs the semantic checks, which look at several documents together, and discovers them in this package's modules.

A module lists its checks. `CHECKS` run on documents that match their schema. `REFERENCE_CHECKS` look only at single
values or at declared names, so that they may also run on documents with stand-ins for invalid values (see `salvage`).
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
    """Yield the problems that all checks find in documents that match their schema."""
    for check in _listed("CHECKS"):
        yield from check(parsed_city)


def check_references(parsed_city: ParsedCity) -> Iterator[Problem]:
    """Yield the problems of `REFERENCE_CHECKS`, which may run on documents with stand-ins for invalid values."""
    for check in _listed("REFERENCE_CHECKS"):
        yield from check(parsed_city)


@cache
def _listed(table: str) -> tuple[Check, ...]:
    """The checks that the modules of this package list in `table`, in the order of the module names."""
    modules = (import_module(f"{__name__}.{found.name}") for found in iter_modules(__path__))
    return tuple(check for module in modules for check in getattr(module, table, ()))
