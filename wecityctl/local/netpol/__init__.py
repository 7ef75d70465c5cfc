"""NetworkPolicy for the embedded cloud's real node: an agent that translates policies into nftables rules.

The agent is `python -m wecityctl.local.netpol`. This module has what the node driver needs to prepare the node, and
imports neither the Kubernetes client nor asyncio.
"""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

PLUGIN = "wecity-netpol"


def base_ruleset(pod_cidr: str) -> str:
    """An nft script that creates the agent's table without known pods: every forwarded pod packet is dropped.

    It must be loaded before the first pod starts. The agent replaces it; without the agent it stays in force.
    """
    from wecityctl.local.netpol.model import State
    from wecityctl.local.netpol.render import render

    return render(State(pod_cidr=pod_cidr))


def cni_plugin(records: str, socket: str) -> dict[str, object]:
    """The entry for the CNI plug-in list, where it must be last. Paths are those inside the node."""
    return {"type": PLUGIN, "records": records, "socket": socket}


def cni_executable() -> str:
    """The content of the program `wecity-netpol`, to be written with mode 0755 to a CNI plug-in directory."""
    plugin = Path(__file__).with_name("hook.py")
    # Without site-packages it starts three times as fast; it needs the standard library only.
    return f"#!/bin/sh\nexec {shlex.quote(sys.executable)} -I -S {shlex.quote(str(plugin))}\n"
