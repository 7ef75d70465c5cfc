"""`python -m wecityctl.local.node.endpods GROUP SECONDS`: ends the containers of a node that is about to stop.

Runs inside the node while containerd still does, so that the containers' last words reach their logs.
"""

from __future__ import annotations

import sys

from wecityctl.local.node import cgroups


def main(arguments: list[str]) -> int:
    """SIGTERM to every container, SIGKILL to what is left after the seconds given."""
    group, seconds = arguments
    cgroups.end_processes(cgroups.detect(), group, grace=float(seconds))
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
