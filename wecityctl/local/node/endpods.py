"""`python -m wecityctl.local.node.endpods GROUP SECONDS`: ends the containers of a node before it stops.

It runs inside the node while containerd still runs, so that the containers' last output reaches their logs.
"""

from __future__ import annotations

import sys

from wecityctl.local.node import cgroups


def main(arguments: list[str]) -> int:
    """Send SIGTERM to every container, and SIGKILL to those that are left after the given seconds."""
    group, seconds = arguments
    cgroups.end_processes(cgroups.detect(), group, grace=float(seconds))
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
