"""What the arguments ask for that also holds for an error met before, or while, they are parsed.

Everything else about arguments is the commands' own.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

_OUTPUT = ("-o", "--output")


def wants_detailed_exit_code(arguments: Sequence[str]) -> bool:
    """Whether 2 is to mean changes, so that every error must end with 1."""
    return "--detailed-exitcode" in _options(arguments)


def wants_json(arguments: Sequence[str]) -> bool:
    """Whether a program reads stdout, and is to find the error there too."""
    options = _options(arguments)
    if any(one in ("-ojson", "--output=json") for one in options):
        return True
    return any(name in _OUTPUT and value == "json" for name, value in pairwise(options))


def _options(arguments: Sequence[str]) -> Sequence[str]:
    return arguments[: arguments.index("--")] if "--" in arguments else arguments
