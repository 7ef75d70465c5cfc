"""How a secret in clear looks: what the checks of the files and the red lines both go by. Pure."""

from __future__ import annotations

import re

_NAME = re.compile(
    r"(?:^|_)(?:PASSWORD|PASSWD|PASSPHRASE|SECRET|TOKEN|API_?KEY|PRIVATE_?KEY|ACCESS_?KEY|SECRET_?KEY|CREDENTIALS?)$|_PWD$",
    re.IGNORECASE,
)
_TEXT = re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----|[a-z][a-z0-9+.-]*://[^\s/:@]*:[^\s/@]+@")
# The same for others that read patterns, such as the API server; both are in RE2's grammar as well.
NAME_PATTERN = f"(?i){_NAME.pattern}"
TEXT_PATTERN = _TEXT.pattern


def names_a_secret(name: str, value: str) -> bool:
    """Whether a variable of this name has a secret for its value; switches such as `USE_TOKEN: "true"` have none."""
    return bool(value and _NAME.search(name)) and value.lower() not in ("true", "false")


def holds_a_secret(text: str) -> bool:
    """Whether a private key or a URL with a password is in the text."""
    return ("://" in text or "PRIVATE KEY" in text) and _TEXT.search(text) is not None
