"""Questions to a cluster that hangs: they end with the run, and not when the client has tried for long enough."""

from __future__ import annotations

import json
import os
import signal
import socket
import threading
import time
from collections.abc import Iterator

import pytest

from wecityctl.engine.cluster.query import ask
from wecityctl.engine.process.interrupts import Interrupts, time_limit
from wecityctl.errors import CancelledError, TimedOutError
from wecityctl.inputs import Cluster

pytestmark = pytest.mark.slow


@pytest.fixture
def hanging() -> Iterator[Cluster]:
    """A cluster that takes connections and says nothing."""
    entry = {"name": "hanging"}
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"http://127.0.0.1:{server.getsockname()[1]}"
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [entry | {"cluster": {"server": url}}],
            "users": [entry | {"user": {}}],
            "contexts": [entry | {"context": {"cluster": "hanging", "user": "hanging"}}],
            "current-context": "hanging",
        }
        yield Cluster("main", json.dumps(config), "", "")


def test_a_look_ends_soon_after_the_runs_time(hanging: Cluster) -> None:
    begun = time.monotonic()
    with time_limit(1, lambda: ""), Interrupts() as interrupts:
        with pytest.raises(TimedOutError, match="the time of the run is over"):
            ask(hanging, lambda client: client.resources())
        assert interrupts.timed_out
    # The client itself would wait for a minute, and try again.
    assert time.monotonic() - begun < 45


def test_a_look_goes_on_after_one_interrupt_and_ends_after_the_second(hanging: Cluster) -> None:
    def press() -> None:
        for seconds in (0.5, 3):
            time.sleep(seconds)
            os.kill(os.getpid(), signal.SIGINT)

    with Interrupts() as interrupts:
        presses = threading.Thread(target=press)
        presses.start()
        with pytest.raises(CancelledError, match="was interrupted"):
            ask(hanging, lambda client: client.resources())
        presses.join()
        assert interrupts.count == 2
