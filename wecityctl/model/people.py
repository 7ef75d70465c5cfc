"""When two written names mean one person. Pure."""

from __future__ import annotations

import re
import unicodedata

# `Ada <ada@x.example>`, as mail programs write it.
_MAILBOX = re.compile(r"^[^<>]*<([^<>]+)>$")


def person(name: str) -> str:
    """The one spelling of an e-mail address, or of another user name, by which two of them are compared.

    Capitals, full-width and invisible characters, `mailto:`, a tag (`ada+audit@x.example`), a name beside the address,
    quotation marks and the dot at a domain's end make no other person: mail to all of these arrives in one place. It is
    for comparisons alone; a cluster knows the name as it is written.
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
    """The text without quotation marks around all of it."""
    inner = text[1:-1].strip()
    return inner if len(text) > 2 and text[0] == text[-1] and text[0] in "\"'" and text[0] not in inner else text
