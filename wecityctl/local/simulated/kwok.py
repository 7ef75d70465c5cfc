"""Defines kwok as a supervised service, with our own stages."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

from wecityctl.local.controlplane import APISERVER, LOOPBACK
from wecityctl.local.driver import Context
from wecityctl.local.service import Probe, Service
from wecityctl.local.simulated.nodes import SELECTOR
from wecityctl.paths import write_private
from wecityctl.toolchain import locate

KWOK = "kwok"


def service(ctx: Context, port: int) -> Service:
    """The service that simulates the kubelets of all nodes with the label for simulated nodes."""
    argv = (
        str(locate(KWOK)),
        f"--kubeconfig={ctx.kubeconfig_for('wecity:kwok', ('system:masters',))}",
        f"--config={_stages(ctx)}",
        f"--manage-nodes-with-label-selector={SELECTOR}",
        f"--cidr={ctx.network.pod_cidr}",
        # Every Node object has its own address; kwok's default would be the same for all.
        "--node-ip=",
        # No leases: they belong to one kwok process, and a restarted one would be idle until they expire.
        "--node-lease-duration-seconds=0",
        f"--server-address={LOOPBACK}:{port}",
    )
    probe = Probe("http", f"http://{LOOPBACK}:{port}/healthz")
    return Service(KWOK, argv, after=(APISERVER,), ready=probe, stop_timeout=3.0)


def _stages(ctx: Context) -> Path:
    data = resources.files(__package__).joinpath("stages.yaml").read_bytes()
    path = ctx.directory / "conf" / "kwok.yaml"
    if not (path.exists() and path.read_bytes() == data):
        write_private(path, data)
    return path
