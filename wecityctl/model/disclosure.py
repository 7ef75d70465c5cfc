"""Detects secrets in plain text. Used by the checks of the files and by the policy rules. Pure functions.

Patterns use only syntax that RE2 and Python share, because the API server evaluates them too. Never a secret: empty
values, references (`$(NAME)`, `${NAME}`, `{{ x }}`, `<name>`, `%s`), paths and switches. A default such as `changeme`
is a secret, because a server would be started with it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

# RE2 matches letter classes by ASCII only, so Python does here too.
_ASCII = re.ASCII
_PHRASES = "PASSWORD|PASSWD|PASSPHRASE"
_OTHERS = r"SECRET|TOKEN|(?:API|PRIVATE|ACCESS|SECRET)[_-]?KEY|CREDENTIALS?"
# `ACCESSKEY` is excluded because it is an attribute of HTML.
_OF_SHELL = r"SECRET|TOKEN|(?:API|PRIVATE|SECRET)_?KEY|ACCESS_KEY|CREDENTIALS?"
_KEY = rf"[\w.-]*(?:{_PHRASES})|(?:[\w.-]*[_.-])?(?:{_OTHERS}|PASS)"
# The first character of a plain-text value.
_CLEAR = r"[^\s'\"$%{<(/*;&,=]"
NAME = re.compile(
    rf"(?i:(?:{_PHRASES})$|(?:^|[_.-])(?:{_OTHERS}|PASS)$|[_.-]PWD$)"
    r"|[a-z](?:Secret|Token|(?:Api|Private|Access|Secret)Key|Credentials?)$"
)
_SWITCH = "true|false|yes|no|on|off|null|none|nil|undefined"
# A value that is a reference, a path, an address or a switch, and therefore no secret.
NO_VALUE = re.compile(
    rf"(?i)^\s*(?:{_SWITCH}|\$\(\w+\)|\$\{{[^{{}}]*\}}|\$\w+|\{{\{{.*\}}\}}|<[^<>]*>|%\w+%?|(?:/[\w.-]+){{2,}}"
    r"|[a-z][a-z0-9+.-]*://[^\s@]*|vault:.*)?\s*$",
    _ASCII,
)
TEXT = re.compile(
    r"-----BEGIN [A-Z ]*PRIVATE KEY-----|[a-z][a-z0-9+.-]*://[^\s/:@]*:(?:[^\s/@$%{<(*]|%[0-9A-F]{2})[^\s/@]*@"
)
# `Server=db;Password=x` of ADO.NET and ODBC, keys of Azure; `host=db user=app password=x` of libpq.
CONNECTION = re.compile(
    rf"(?i)(?:^|;)[ \t]*(?:PASSWORD|PWD|(?:SHARED)?(?:ACCESS|ACCOUNT|SECRET)KEY)[ \t]*=[ \t]*['\"]?{_CLEAR}"
    rf"|(?:^|\s|['\"])(?:HOST|HOSTADDR|DBNAME|USER|PORT)=[^\s,]+ (?:\w+=[^\s,]+ )*PASSWORD='?{_CLEAR}",
    _ASCII,
)
# `?password=x&…` in the query of a URL.
QUERY = re.compile(rf"(?i)(?:[?&]|&amp;)(?:{_KEY}|PWD|SIG)=(?:{_CLEAR}|%[0-9A-F][0-9A-F])", _ASCII)
# Keys of vendors and signed tokens: AWS, Alibaba Cloud, Tencent Cloud, GitHub, GitLab, Slack, JWT.
TOKEN = re.compile(
    r"\b(?:AKIA[0-9A-Z]{16}|LTAI[0-9A-Za-z]{12,26}|AKID[0-9A-Za-z]{32}|gh[pousr]_\w{36}|github_pat_\w{22,}"
    r"|glpat-[\w-]{20}|xox[abprs]-[\w-]{10,}|eyJ[\w-]{8,}\.eyJ[\w-]{8,}\.[\w-]{8,})\b",
    _ASCII,
)
AUTHORIZATION = re.compile(
    r"(?i)authorization['\"]?\s{0,9}[:=,]?\s{0,9}['\"]?(?:bearer|basic|token)\s+[\w.~+/=-]{3,}", _ASCII
)
JSON = re.compile(rf'(?i)"(?:{_KEY})"\s*:\s*"{_CLEAR}[^"]*"?', _ASCII)
FLAG = re.compile(rf"(?i)^--?(?:{_KEY}|(?:[\w.-]*[_.-])?PWD)=['\"]?{_CLEAR}", _ASCII)
FLAG_AND_VALUE = re.compile(rf"(?i)(?:^|\n)--?(?:{_KEY}|(?:[\w-]*[_-])?PWD)\n[^\s$%{{<(/-]", _ASCII)
# `PGPASSWORD=x psql`, `export DB_PASS=x; …`: a shell variable anywhere in a line.
VARIABLE = re.compile(
    rf"(?:^|[\s;&|('\"`])(?:[A-Z0-9_]*(?:{_PHRASES})|(?:[A-Z0-9_]*_)?(?:{_OF_SHELL}|PASS)|[A-Z0-9_]*_PWD)"
    rf"=['\"]?[^\s'\"$%{{<(/*;&,=`][^\s'\";&|]*",
    _ASCII,
)
# A line of an ini, properties or YAML file, or a key of JSON or of a YAML flow mapping, up to the end of the line.
SETTING = re.compile(
    r"(?im)(?:^|[{,])[ \t]*(?:- +|export +)?['\"]?"
    rf"(?:[\w.-]*(?:{_PHRASES}|{_OTHERS})|(?:[\w.-]*[_.-])?(?:PASS|PWD))['\"]?[ \t]*[:=][^\n,}}]*",
    _ASCII,
)
# A setting whose value is one word of ASCII letters and punctuation, in plain text.
ONE_WORD = re.compile(
    r"^[^:=]*[:=][ \t]*['\"]?[\w+^][!#-&*-;=?-Z\\^-z|~]*['\"]?[ \t\r]*;?[ \t\r]*(?:#.*)?$",
    _ASCII,
)
NO_SECRET = re.compile(
    rf"(?i)^[^:=]*[:=][ \t]*['\"]?(?:{_SWITCH}|string|required|optional|files|compat|[a-z][a-z0-9+.-]*://\S*|(?:vault|file|classpath):\S*)"
    r"['\"]?[ \t\r]*;?[ \t\r]*(?:#.*)?$",
    _ASCII,
)
# A setting whose key names a password and whose value is not a label such as `Passwort`.
OF_PASSWORD = re.compile(rf"(?i)^[^:=]*(?:{_PHRASES}|PASS|PWD)['\"]?[ \t]*[:=]", _ASCII)
LABEL = re.compile(r"^[^:=]*[:=][ \t]*['\"]?[A-Z][a-z]+['\"]?\s*$")
# Distinguishes a secret from a natural word: at least six characters, and a digit.
LONG, DIGIT = re.compile(r"^[^:=]*[:=][ \t]*\S{6}"), re.compile(r"^[^:=]*[:=].*[0-9]")
# Credentials after `Basic`, as opposed to the next word of a sentence.
CREDENTIALS = re.compile(r"\s(?:\S*[0-9]\S*|\S*[a-z][A-Z]\S*|\S*=)$")
# Names of configuration files, or keys of a ConfigMap. In these any value counts, unless it is a translation.
CONFIGURATION = re.compile(
    r"(?i)\.(?:properties|ini|conf|cfg|cnf|config|env|ya?ml|toml|json5?|hcl)$|(?:^|/)(?:[0-9a-f]{8}-)?[\w-]*$", _ASCII
)
_LANGUAGES = (
    "ar|bg|bn|bo|ca|cs|da|de|el|en|es|et|fa|fi|fr|he|hi|hr|hu|id|it|ja|kk|km|ko|ky|lo|lt|lv|mn|ms|my|nb|nl|no|pl|pt|ro|ru"
    "|sk|sl|sr|sv|ta|th|tr|ug|uk|ur|uz|vi|zh"
)
TRANSLATION = re.compile(
    rf"(?i)(?:^|[/_.-])(?:messages?|labels?|i18n|l10n|locales?|translations?|strings|{_LANGUAGES})(?:[_.-][a-z0-9]+)*"
    r"\.(?:json5?|ya?ml|properties)$",
    _ASCII,
)


def names_a_secret(name: str, value: str) -> bool:
    """Whether a variable of this name and value is a secret. Switches such as `USE_TOKEN: "true"` are not."""
    return NAME.search(name) is not None and NO_VALUE.search(value) is None


def holds_a_secret(text: str) -> bool:
    """Whether the text contains a private key, a vendor's key, or a URL, header or connection string with a
    password.
    """
    if ("://" in text or "PRIVATE KEY" in text) and TEXT.search(text) is not None:
        return True
    if "=" in text and (CONNECTION.search(text) is not None or QUERY.search(text) is not None):
        return True
    if any(CREDENTIALS.search(found[0]) for found in AUTHORIZATION.finditer(text)):
        return True
    return TOKEN.search(text) is not None


def file_holds_a_secret(name: str, text: str) -> bool:
    """Whether the file contains a secret.

    Its name or path decides how strictly settings such as `password: x` are read.

    In configuration files any word counts that is not a label. In translations and source code, a value counts only if
    it cannot be a word of a natural language.
    """
    return holds_a_secret(text) or _sets_a_secret(text, plain=is_configuration(name))


def is_configuration(name: str) -> bool:
    """Whether the file, by its name or path, contains settings of a program and no translations."""
    return CONFIGURATION.search(name) is not None and TRANSLATION.search(name) is None


def value_holds_a_secret(value: str) -> bool:
    """Whether the value of a variable, or a word of a command line (which may be a script), contains a secret."""
    return (
        holds_a_secret(value)
        or ("{" in value and any(not NO_SECRET.search(found[0]) for found in JSON.finditer(value)))
        or AUTHORIZATION.search(value) is not None
        or _sets_a_secret(value, plain=True)
    )


def words_hold_a_secret(words: Sequence[str]) -> bool:
    """Whether a command line contains a secret, in a word or as the value of an option."""
    return any(map(value_holds_a_secret, words)) or options_hold_a_secret(words)


def options_hold_a_secret(words: Sequence[str]) -> bool:
    """Whether the value of an option is a secret: `--password=x`, or `--password` followed by `x`."""
    if any(map(_is_option_with_secret, words)):
        return True
    return FLAG_AND_VALUE.search("\n".join(word for word in words if "\n" not in word)) is not None


def _is_option_with_secret(word: str) -> bool:
    return FLAG.search(word) is not None and NO_SECRET.search(word) is None


def _sets_a_secret(text: str, *, plain: bool) -> bool:
    """Whether a shell variable or a setting is assigned a secret. `plain`: any word counts as a password."""
    if "=" in text and any(not NO_SECRET.search(found[0]) for found in VARIABLE.finditer(text)):
        return True
    return any(_is_secret(found[0], plain=plain) for found in SETTING.finditer(text))


def _is_secret(setting: str, *, plain: bool) -> bool:
    if ONE_WORD.search(setting) is None or NO_SECRET.search(setting) is not None:
        return False
    if plain and OF_PASSWORD.search(setting) is not None and LABEL.search(setting) is None:
        return True
    return LONG.search(setting) is not None and DIGIT.search(setting) is not None
