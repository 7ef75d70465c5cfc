"""What apps are told of who somebody is, and that they do not get the cookies of the sign-in service: parts of nginx's
block http that hold for all routes."""

from __future__ import annotations

from stacks.platforms.sign_in_interface import CLAIM_HEADERS, COOKIES

# The variables are set by routes that ask (`signing_in`); at all others they are empty, and a header with an empty
# value is not sent. The names have to be known without any route, too.
CLAIMS_OF = {name: "$" + name.lower().replace("-", "_") for name in CLAIM_HEADERS}
CLAIMS = "".join(f"  proxy_set_header {name} {variable};\n" for name, variable in CLAIMS_OF.items())
NO_CLAIMS = "".join(f"    set {variable} '';\n" for variable in CLAIMS_OF.values())

# Each variable leaves one cookie out. Whoever sends more of them, as no browser does, has no cookies.
_MOST = 12


def _without_one(before: str, after: str, number: int) -> str:
    pattern = f"~^(?:(?<b{number}>.*?); ?)?{COOKIES}[^;]*(?<a{number}>;.*)?$"
    return f'  map {before} {after} {{ default {before}; "{pattern}" "$b{number}$a{number}"; }}\n'


_NAMES = ("$http_cookie", *(f"$cookies_{number}" for number in range(_MOST)))
# The cookies without those of the service: `$apps_cookies`.
WITHOUT_OURS = (
    "".join(_without_one(_NAMES[number], _NAMES[number + 1], number) for number in range(_MOST))
    + f"""  map {_NAMES[-1]} $apps_cookies {{
    default {_NAMES[-1]};
    "~(^|;) ?{COOKIES}" '';
    "~^; ?(?<left>.*)$" $left;
  }}
"""
)
