"""Decides whether two spellings of a user name or e-mail address mean the same person. Pure functions."""

from __future__ import annotations

import re
import unicodedata

# `Ada <ada@x.example>`, as mail programs write it.
_MAILBOX = re.compile(r"^[^<>]*<([^<>]+)>$")


def person(name: str) -> str:
    """Normalise an e-mail address or user name, for comparison only.

    Ignored are: case, full-width and invisible characters, `mailto:`, a tag (`ada+audit@x.example`), a display name,
    quotation marks and the dot at the end of a domain. Mail to all these spellings reaches one mailbox. A cluster uses
    the name as it is written.
    """
    text = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold())
    text = "".join(letter for letter in text if unicodedata.category(letter) != "Cf").strip()
    text = _MAILBOX.sub(r"\1", _unquoted(text)).strip().removeprefix("mailto:")
    local, at, domain = text.rpartition("@")
    local, domain = _unquoted(local), domain.rstrip(".")
    untagged = local.partition("+")[0]
    if not at or not domain:
        return text
    return f"{untagged or local}@{domain}"


def _unquoted(text: str) -> str:
    """The text without quotation marks that enclose it."""
    inner = text[1:-1].strip()
    return inner if len(text) > 2 and text[0] == text[-1] and text[0] in "\"'" and text[0] not in inner else text
