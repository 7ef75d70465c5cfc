"""Where the installed program begins: Ctrl-C while it still loads is answered as at any later moment."""

from __future__ import annotations

import sys
from typing import NoReturn

from wecityctl.errors import ExitCode


def main() -> NoReturn:
    """Load the command line and run it. The process ends here."""
    try:
        from wecityctl.cli.main import main as run
    except KeyboardInterrupt:
        sys.stderr.write("error: interrupted\n")
        sys.exit(ExitCode.CANCELLED)
    run()
