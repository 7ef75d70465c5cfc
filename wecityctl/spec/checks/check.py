"""What a check is: a function from the parsed city to the problems that it finds."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from wecityctl.errors import Problem
from wecityctl.spec.parsed_city import ParsedCity

Check = Callable[[ParsedCity], Iterator[Problem]]
