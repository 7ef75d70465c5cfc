"""What the operations platform costs an app: its latency through the gateway, with and without, on a real node."""

from __future__ import annotations

import http.client
import json
import socket
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from subprocess import CompletedProcess

import yaml

from wecityctl.clusters import local_name
from wecityctl.session import open_session

EXAMPLE = Path(__file__).parents[1] / "examples" / "xingcheng-operations"
NAME = "watching"
APP = "bus-arrival"
# More requests than the metrics' interval of 15 s takes: what is scraped and shipped runs beside them.
_WARM, _SECONDS = 200, 40.0
_TIMEOUT = 10.0


@dataclass(frozen=True)
class Latencies:
    """Milliseconds that 99 of 100 requests took at most."""

    alone: float
    watched: float


def measure_watching(
    directory: Path, call: Callable[..., CompletedProcess[str]], started: Callable[[str], None]
) -> Latencies:
    """Bring the example up without its operations platform, measure, bring that up, and measure again.

    `call` runs the command line; `started` is told the embedded cloud's name beforehand.
    """
    alone = _write(directory / NAME, watched=False)
    session = open_session(alone)
    started(local_name(session.city, session.city.clouds[0]))
    call("up", str(alone), "--yes")
    before = _p99(alone, call)
    watched = _write(directory / NAME, watched=True)
    call("up", str(watched), "--yes")
    return Latencies(before, _p99(watched, call))


def _write(directory: Path, *, watched: bool) -> Path:
    """Write the example's files under another name, without backups and alerts to somewhere."""
    directory.mkdir(exist_ok=True)
    for path in EXAMPLE.glob("*.yaml"):
        kept = []
        for item in yaml.safe_load_all(path.read_text()):
            kind, spec = item["kind"], item["spec"]
            if kind == "City":
                item["metadata"]["name"] = NAME
                del spec["compliance"], spec["alerts"]
            if kind == "Tenant":
                spec.pop("alerts", None)
            if not watched:
                if (kind, item["metadata"]["name"]) == ("Platform", "operations"):
                    continue
                if kind == "App":
                    spec["uses"] = [use for use in spec["uses"] if isinstance(use, dict) and use["as"] == "db"]
            kept.append(item)
        (directory / path.name).write_text(yaml.safe_dump_all(kept, allow_unicode=True))
    return directory


def _p99(city: Path, call: Callable[..., CompletedProcess[str]]) -> float:
    """Milliseconds that 99 of 100 requests take at most."""
    place = json.loads(call("open", str(city), APP, "-o", "json").stdout)
    taken = sorted(_requests(place["address"], place["port"], place["host"]))
    return taken[len(taken) * 99 // 100] * 1000


class _Entry(http.client.HTTPSConnection):
    """A connection to the entry's own address, opened anew when the entry closes it after a number of requests."""

    def __init__(self, host: str, address: str, port: int) -> None:
        super().__init__(host, port, timeout=_TIMEOUT)
        self._address = address
        # The certificate is the embedded authority's; here only time counts.
        self._tls = ssl.create_default_context()
        self._tls.check_hostname, self._tls.verify_mode = False, ssl.CERT_NONE

    def connect(self) -> None:
        plain = socket.create_connection((self._address, self.port), timeout=self.timeout)
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sock = self._tls.wrap_socket(plain, server_hostname=self.host)


def _requests(address: str, port: int, host: str) -> list[float]:
    """Ask the app one request after the other over one connection; returns the seconds that each took."""
    connection = _Entry(host, address, port)
    taken: list[float] = []
    began = time.monotonic()
    while time.monotonic() - began < _SECONDS:
        asked = time.monotonic()
        connection.request("GET", "/healthz", headers={"Host": host})
        answer = connection.getresponse()
        answer.read()
        if answer.status != 200:
            raise RuntimeError(f"{host} answers {answer.status}")
        taken.append(time.monotonic() - asked)
    connection.close()
    return taken[_WARM:]
