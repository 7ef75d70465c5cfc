"""How a secret in clear looks: what the checks of the files and the red lines both go by. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence

_KINDS = (
    r"PASSWORD|PASSWD|PASSPHRASE|SECRET|TOKEN|API[_-]?KEY|PRIVATE[_-]?KEY|ACCESS[_-]?KEY|SECRET[_-]?KEY|CREDENTIALS?"
)
# How a value begins that stands in clear; references (`$(NAME)`, `%s`, `{{ x }}`, `<name>`) and paths of files do not.
_CLEAR = r"[^\s'\"$%{<(/]"
_NAME = re.compile(rf"(?:^|[_.-])(?:{_KINDS})$|_PWD$", re.IGNORECASE)
_TEXT = re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----|[a-z][a-z0-9+.-]*://[^\s/:@]*:[^\s/@]+@")
# `Server=db;Password=x` of ADO.NET and ODBC; `host=db user=app password=x` of libpq.
_CONNECTION = re.compile(
    rf"(?:^|;)[ \t]*(?:PASSWORD|PWD)[ \t]*=[ \t]*['\"]?{_CLEAR}"
    rf"|(?:^|\s|['\"])(?:HOST|HOSTADDR|DBNAME|USER|PORT)=\S+ (?:\w+=\S+ )*PASSWORD='?{_CLEAR}",
    re.IGNORECASE,
)
_JSON = re.compile(rf'"(?:[\w.-]*[_.-])?(?:{_KINDS})"\s*:\s*"{_CLEAR}', re.IGNORECASE)
_FLAG = re.compile(rf"^--?(?:[\w.-]*[_.-])?(?:{_KINDS}|PWD)=['\"]?{_CLEAR}", re.IGNORECASE)
_FLAG_AND_VALUE = re.compile(rf"(?:^|\n)--?(?:[\w-]*[_-])?(?:{_KINDS}|PWD)\n[^\s$%{{<(/-]", re.IGNORECASE)
# The same for others that read patterns, such as the API server; all are in RE2's grammar as well.
NAME_PATTERN, CONNECTION_PATTERN, JSON_PATTERN, FLAG_PATTERN, FLAG_AND_VALUE_PATTERN = (
    f"(?i){item.pattern}" for item in (_NAME, _CONNECTION, _JSON, _FLAG, _FLAG_AND_VALUE)
)
TEXT_PATTERN = _TEXT.pattern
SWITCHES = ("true", "false")


def names_a_secret(name: str, value: str) -> bool:
    """Whether a variable of this name has a secret for its value; switches such as `USE_TOKEN: "true"` have none."""
    return bool(value and _NAME.search(name)) and value.lower() not in SWITCHES


def holds_a_secret(text: str) -> bool:
    """Whether a private key, a URL with a password or a connection string with one is in the text, such as a file's."""
    if ("://" in text or "PRIVATE KEY" in text) and _TEXT.search(text) is not None:
        return True
    return "=" in text and _CONNECTION.search(text) is not None


def value_holds_a_secret(value: str) -> bool:
    """Whether a secret is in the value of a variable, or in a word of a command line; JSON counts there.

    In a file it does not: `{"password": "Passwort"}` is a translation.
    """
    return holds_a_secret(value) or ("{" in value and _JSON.search(value) is not None)


def words_hold_a_secret(words: Sequence[str]) -> bool:
    """Whether a command line gives a secret away: in a word, or as an option."""
    return any(map(value_holds_a_secret, words)) or options_hold_a_secret(words)


def options_hold_a_secret(words: Sequence[str]) -> bool:
    """Whether an option of a command line has a secret for its value: `--password=x`, or `--password` and then `x`."""
    if any(map(_is_option_with_secret, words)):
        return True
    return _FLAG_AND_VALUE.search("\n".join(word for word in words if "\n" not in word)) is not None


def _is_option_with_secret(word: str) -> bool:
    return _FLAG.search(word) is not None and word.rpartition("=")[2].lower() not in SWITCHES
