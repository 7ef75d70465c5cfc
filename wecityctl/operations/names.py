"""The error for a name that the city does not have: with the most similar name, and all that there are."""

from __future__ import annotations

from collections.abc import Sequence

from wecityctl.errors import ConfigurationError
from wecityctl.guesses import nearest


def no_such(kind: str, name: str, known: Sequence[str], otherwise: str = "") -> ConfigurationError:
    """Return the error: there is no `kind` called `name` among the `known`. `otherwise` is the advice without a guess.

    A name's last part, after a slash, is taken for the whole name if it means one.
    """
    short = [item for item in known if item.rpartition("/")[2] == name]
    near = short[0] if len(short) == 1 else nearest(name, known)
    return ConfigurationError(
        f"there is no {kind} {name!r}",
        details="there are: " + (", ".join(known) or "none"),
        resolution=f"did you mean {near!r}?" if near else otherwise,
    )
