"""What was probably meant by a misspelt name."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

# Comparing takes time that grows with the square of the length.
_COMPARED_CHARACTERS = 100


def nearest(word: str, names: Iterable[str]) -> str:
    """The name most similar to `word`, whatever the case of its letters; empty if none is similar."""
    folded = {name.lower(): name for name in names}
    # A whole part of a name is preferred: `extranet` means `government-extranet`, although `internet` is more similar.
    whole = [name for lower, name in folded.items() if word.lower() in lower.split("-")]
    if len(whole) == 1:
        return whole[0]
    matches = get_close_matches(word.lower()[:_COMPARED_CHARACTERS], list(folded), n=1, cutoff=0.6)
    return folded[matches[0]] if matches else ""
