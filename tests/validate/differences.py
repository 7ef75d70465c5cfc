"""Where an object as the API server has it differs from the manifest that was sent: what was altered without a word."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from wecityctl.model.quantity import parse_quantity

# Fields whose values are quantities; the server writes them in a form of its own.
_QUANTITIES = frozenset({"requests", "limits", "hard", "default", "defaultRequest", "sizeLimit"})


def altered(sent: Any, got: Any, path: str = "", *, quantity: bool = False) -> Iterator[str]:
    """The paths of everything that was sent and is not there, or is something else. What the server adds is its own."""
    if isinstance(sent, dict):
        if not isinstance(got, dict):
            yield f"{path}: {sent!r} became {got!r}"
            return
        for key, value in sent.items():
            if key not in got:
                # The API's Go types leave out what is empty.
                if value not in ({}, [], "", False, 0):
                    yield f"{path}.{key} is gone"
            else:
                yield from altered(value, got[key], f"{path}.{key}", quantity=quantity or key in _QUANTITIES)
    elif isinstance(sent, list):
        # Admission adds tolerations to every pod.
        longer = path.endswith(".tolerations")
        if not isinstance(got, list) or len(got) < len(sent) or (len(got) > len(sent) and not longer):
            yield f"{path}: {sent!r} became {got!r}"
            return
        for index, value in enumerate(sent):
            yield from altered(value, got[index], f"{path}[{index}]", quantity=quantity)
    elif sent != got and not (quantity and parse_quantity(str(sent)) == parse_quantity(str(got))):
        yield f"{path}: {sent!r} became {got!r}"
