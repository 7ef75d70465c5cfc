"""When two written names mean one person. Pure."""

from __future__ import annotations

import unicodedata


def person(name: str) -> str:
    """The one spelling of an e-mail address, or of another user name, by which two of them are compared.

    Capitals, full-width and invisible characters, `mailto:` and a tag (`ada+audit@x.example`) make no other person:
    mail to all of these arrives in one place. It is for comparisons alone; a cluster knows the name as it is written.
    """
    text = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold())
    text = "".join(letter for letter in text if unicodedata.category(letter) != "Cf").strip().removeprefix("mailto:")
    local, at, domain = text.rpartition("@")
    untagged = local.partition("+")[0]
    return f"{untagged}@{domain}" if at and untagged else text
