"""Texts with a check of their own: the annotated type, and how a check refuses a value.

A refusal has one error type, with what was expected and what may be meant.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

from pydantic import AfterValidator, WithJsonSchema
from pydantic_core import PydanticCustomError

ERROR_TYPE = "wecity"


def checked(check: Callable[[str], str], **schema: Any) -> Any:
    """The type of a text that `check` returns or refuses; `schema` is what its JSON Schema says besides."""
    return Annotated[str, AfterValidator(check), WithJsonSchema({"type": "string", **schema})]


def refuse(message: str, expected: str = "", suggestion: str = "", *, hides: bool = False) -> PydanticCustomError:
    """The error to raise; `translate` turns it into a problem at the value's place, which may hide it as a secret."""
    # The message goes in as a value: braces in user's text are not a template's.
    return PydanticCustomError(
        ERROR_TYPE, "{message}", {"message": message, "expected": expected, "suggestion": suggestion, "hides": hides}
    )
