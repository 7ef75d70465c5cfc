"""`python -m wecityctl.listeners PROGRAM [ARGUMENT…]`: runs a program and its child processes under the guard."""

from __future__ import annotations

import os
import sys

from wecityctl.listeners.guard import divide

if __name__ == "__main__":
    divide()
    try:
        os.execvp(sys.argv[1], sys.argv[1:])  # noqa: S606 - the caller's own program
    except OSError as error:
        sys.exit(f"{sys.argv[1]}: {error.strerror}")
