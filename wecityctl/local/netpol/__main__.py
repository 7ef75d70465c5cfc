"""`python -m wecityctl.local.netpol`: the agent as a process of the node, in the node's network namespace."""

from __future__ import annotations

import argparse
import asyncio
import gc
import logging
import signal
import sys
from contextlib import suppress
from pathlib import Path

from wecityctl.errors import WecityError
from wecityctl.kube.client import KubeClient
from wecityctl.kube.config import load_access
from wecityctl.kube.requester import RetryPolicy
from wecityctl.kube.transport import HttpPool
from wecityctl.local.netpol import kernel
from wecityctl.local.netpol.agent import Agent, Settings
from wecityctl.local.netpol.render import cleanup


def main(arguments: list[str]) -> int:
    """Run the agent. Returns 0 after SIGTERM or `--cleanup`, and a `WecityError`'s exit code with a line on stderr."""
    options = _parser().parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    try:
        if options.cleanup:
            kernel.load(cleanup())
        else:
            settings = Settings(options.pod_cidr, options.socket, options.records, options.check_seconds)
            asyncio.run(_run(options.kubeconfig, settings))
    except WecityError as error:
        sys.stderr.write(f"{error.message}\n{error.details}\n{error.resolution}\n")
        return int(error.exit_code)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m wecityctl.local.netpol", description=__doc__)
    parser.add_argument("--kubeconfig", default="", help="path of the agent's kubeconfig")
    parser.add_argument("--pod-cidr", default="", help="addresses of the node's pods")
    parser.add_argument("--records", type=Path, help="directory where the CNI plug-in leaves its records")
    parser.add_argument("--socket", type=Path, help="Unix socket; it accepts once the rules are in force")
    parser.add_argument("--check-seconds", type=float, default=30.0, help="how often to see that the table is there")
    parser.add_argument("--cleanup", action="store_true", help="remove the table and exit: everything is open then")
    return parser


async def _run(kubeconfig: str, settings: Settings) -> None:
    """Run the agent until SIGTERM. The rules stay in force."""
    access = load_access(kubeconfig)
    retry = RetryPolicy(total_seconds=5.0, first_contact_seconds=5.0, max_delay=1.0)
    async with HttpPool() as pool, KubeClient(access, pool, user_agent="wecity-netpol", retry=retry) as client:
        gc.freeze()
        task = asyncio.current_task()
        assert task is not None
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, task.cancel)
        with suppress(asyncio.CancelledError):
            await Agent(settings, client).run()


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
