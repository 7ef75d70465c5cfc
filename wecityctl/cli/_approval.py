"""Asks for approval of changes on a terminal; elsewhere `--yes` is required. `--confirm` is handled
with the options.
"""

from __future__ import annotations

import sys

import typer

from wecityctl.cli._options import StreamFormat
from wecityctl.errors import CancelledError, ConfigurationError


def require_can_ask(what: str, output: StreamFormat = StreamFormat.TEXT, *, look: str = "") -> None:
    """Raise `ConfigurationError` if no user can be asked.

    `what` is the work that needs approval, such as "bringing xingcheng up". `look` is the command that shows what
    would be done, such as "wecityctl preview"; empty if there is none.
    """
    if output is StreamFormat.JSON:
        raise ConfigurationError(f"{what} needs approval, and -o json cannot ask for it", resolution="add --yes")
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise ConfigurationError(
            f"{what} needs approval, and there is no terminal to ask for it",
            resolution=f"see with `{look}` what would be done, then add --yes" if look else "add --yes",
        )


def ask(question: str) -> None:
    """Ask on the terminal. Raises `CancelledError` for No, `typer.Abort` for Ctrl-C and end of input."""
    if not typer.confirm(question, err=True):
        raise CancelledError("you answered no; nothing was changed")
