"""The steps of a pipeline as commands: `python3 -m pipeline prepare|collect|compute|device NAME`."""

from __future__ import annotations

import argparse
import os
import signal
import socket
import sys
import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sample_app.bindings import Binding, first, read_bindings
from sample_app.log import say

from pipeline import description, over_files, over_http, over_mqtt, publish
from pipeline.description import Description
from pipeline.errors import PipelineError
from pipeline.store import Store

INBOX = "/data"


def main(arguments: list[str] | None = None) -> int:
    """Run one step; 1 if it ends with an error, 2 for a wrong command line."""
    parser = argparse.ArgumentParser(prog="pipeline", description=__doc__)
    steps = parser.add_subparsers(dest="step", required=True)
    for name, run in (("prepare", _prepare), ("collect", _collect), ("compute", _compute)):
        steps.add_parser(name).set_defaults(run=run)
    device = steps.add_parser("device", help="add a device, and print its password")
    device.add_argument("name")
    device.set_defaults(run=_device)
    options = parser.parse_args(arguments)
    try:
        return int(options.run(options) or 0)
    except PipelineError as error:
        sys.stderr.write(f"error: {error}\n")
        return 1


def _prepare(_: Any) -> None:
    """Make the tables, and publish them."""
    about, store = _opened()
    store.prepare()
    publish.publish(about, store, publish.DataServices(_binding("data-services")))
    say("prepared", title=about.title)


def _compute(_: Any) -> None:
    """Compute and forecast, then publish again: after a restore of the database the rights of others are not there."""
    about, store = _opened()
    now = datetime.now(UTC)
    groups = store.compute()
    forecasts = store.forecast(now)
    services = publish.DataServices(_binding("data-services"))
    publish.publish(about, store, services)
    passed = publish.check_quality(about, store, services, now)
    say("computed", groups=groups, forecasts=len(forecasts), checks=passed)


def _device(options: Any) -> None:
    sys.stdout.write(over_mqtt.add_device(_binding("mqtt"), options.name) + "\n")


def _collect(_: Any) -> None:
    """Collect by HTTP, and by MQTT and files where there is a binding and a volume, until SIGTERM."""
    about, store = _opened()
    ended = threading.Event()
    threads = []
    if devices := first(_bindings(), "mqtt"):
        threads.append(threading.Thread(target=over_mqtt.listen, args=(devices, about, store, ended)))
    inbox = Path(os.environ.get("INBOX") or INBOX)
    if inbox.is_dir():
        threads.append(threading.Thread(target=over_files.watch, args=(inbox, about, store, ended)))
    server = _server(about, store)
    signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
    for thread in threads:
        thread.start()
    say("listening", port=server.server_port, devices=devices is not None, files=inbox.is_dir())
    server.serve_forever(poll_interval=0.2)
    ended.set()
    for thread in threads:
        thread.join(20)


def _server(about: Description, store: Store) -> over_http.Server:
    port = int(os.environ.get("PORT") or 8080)

    class DualStack(over_http.Server):
        """Listens on IPv6 and IPv4 at once where the kernel has both."""

        address_family = socket.AF_INET6

    try:
        return DualStack(("::", port), about, store)
    except OSError:
        return over_http.Server(("0.0.0.0", port), about, store)  # noqa: S104 - a pod's own address is all there is


def _opened() -> tuple[Description, Store]:
    about = description.load(os.environ.get("DESCRIPTION") or description.PATH)
    return about, Store(_binding("postgresql"), about)


def _bindings() -> tuple[Binding, ...]:
    return read_bindings(os.environ.get("SERVICE_BINDING_ROOT", ""))


def _binding(kind: str) -> Binding:
    if found := first(_bindings(), kind):
        return found
    raise PipelineError(f"the app has no binding of the type {kind}: name its capability under `uses`")


if __name__ == "__main__":
    sys.exit(main())
