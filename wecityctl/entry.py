"""The entry point of the installed program.

It installs the signal handling before the command line is imported, so that Ctrl-C and SIGTERM during start-up end the
program in the same way as later. This module imports nothing slow, so that an interrupt outside of `main` finds only
Python's own start.
"""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import FrameType
    from typing import NoReturn

# `ExitCode.CANCELLED`, whose module takes longer to import than this one.
CANCELLED = 8


def main() -> NoReturn:
    """Load the command line and run it. Never returns."""
    try:
        import signal

        # A run counts signals by itself; until then, and in every other command, both end it as Ctrl-C does.
        if signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
            signal.signal(signal.SIGTERM, _interrupt)
        from wecityctl.cli.main import main as run
    except KeyboardInterrupt:
        sys.stderr.write("error: interrupted\n")
        sys.exit(CANCELLED)
    run()


def _interrupt(number: int, frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt
