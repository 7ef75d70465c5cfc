"""NetworkPolicy on the embedded cloud's real node: `python -m wecityctl.local.netpol` turns policies into nftables.

This module is what the node's maker needs at preparation; it imports neither the client nor asyncio.
"""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

PLUGIN = "wecity-netpol"


def base_ruleset(pod_cidr: str) -> str:
    """An nft script that makes the agent's table as long as no pod is known: every forwarded pod packet is dropped.

    To be loaded before the first pod; the agent replaces it, and without the agent it stays.
    """
    from wecityctl.local.netpol.model import State
    from wecityctl.local.netpol.render import render

    return render(State(pod_cidr=pod_cidr))


def cni_plugin(records: str, socket: str) -> dict[str, object]:
    """The entry of the CNI network's plug-in list; it must come last. Paths are as seen inside the node."""
    return {"type": PLUGIN, "records": records, "socket": socket}


def cni_executable() -> str:
    """The program `wecity-netpol`, to be made 0755 in a directory where the runtime looks for CNI plug-ins."""
    plugin = Path(__file__).with_name("hook.py")
    # Without site-packages: the plug-in needs the standard library alone, and starts in a third of the time.
    return f"#!/bin/sh\nexec {shlex.quote(sys.executable)} -I -S {shlex.quote(str(plugin))}\n"
