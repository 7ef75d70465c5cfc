"""How a validator of this package refuses a value: one error type with what was expected and what may be meant."""

from __future__ import annotations

from pydantic_core import PydanticCustomError

ERROR_TYPE = "wecity"


def refuse(message: str, expected: str = "", suggestion: str = "") -> PydanticCustomError:
    """The error to raise; `translate` turns it into a problem at the value's place."""
    # The message goes in as a value: braces in user's text are not a template's.
    return PydanticCustomError(
        ERROR_TYPE, "{message}", {"message": message, "expected": expected, "suggestion": suggestion}
    )
