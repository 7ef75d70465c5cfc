"""The type of a check: a function from the parsed city to an iterator of problems."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from wecityctl.errors import Problem
from wecityctl.spec.parsed_city import ParsedCity

Check = Callable[[ParsedCity], Iterator[Problem]]
