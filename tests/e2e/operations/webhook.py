"""A webhook on an embedded cloud's node: pods reach it as something outside the cluster."""

from __future__ import annotations

import contextlib
import json
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# Of a range for documentation, which is not routed.
OUTSIDE = "192.0.2.9"
# Notes the time and body of each POST as a line of JSON.
_SERVER = """
import http.server, json, sys, time
host, port, file = sys.argv[1], int(sys.argv[2]), sys.argv[3]
class Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with open(file, "a") as output:
            output.write(json.dumps({"at": time.time(), "path": self.path, "body": body}) + "\\n")
        self.send_response(200)
        self.end_headers()
    def log_message(self, *words):
        pass
http.server.ThreadingHTTPServer((host, port), Handler).serve_forever()
"""


@dataclass(frozen=True, slots=True)
class Told:
    """An alert that arrived: when, in seconds since 1970, and at which path."""

    at: float
    path: str
    status: str
    labels: dict[str, str]
    summary: str


@dataclass(frozen=True, slots=True)
class Webhook:
    """`url` is at the node's own address, `outside` at one that is in none of the city's networks."""

    url: str
    file: Path
    outside: str

    def told(self) -> list[Told]:
        """What has arrived so far."""
        lines = self.file.read_text().splitlines() if self.file.exists() else ()
        return [
            Told(line["at"], line["path"], item["status"], item["labels"], item["annotations"]["summary"])
            for line in map(json.loads, lines)
            for item in line["body"]["alerts"]
        ]


@contextlib.contextmanager
def webhook(directory: Path, pid: int, address: str) -> Iterator[Webhook]:
    """A webhook in the network of the process `pid`, at its `address` and at `OUTSIDE`, which is added to it."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    file = directory / "told.jsonl"
    inside = ["nsenter", f"--net=/proc/{pid}/ns/net", "--"]
    subprocess.run([*inside, "ip", "address", "replace", f"{OUTSIDE}/32", "dev", "lo"], check=True, timeout=30)
    command: list[Any] = [*inside, sys.executable, "-c", _SERVER, "0.0.0.0", port]
    process = subprocess.Popen([*map(str, command), str(file)], stdin=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 30
        while True:
            with contextlib.suppress(OSError), socket.create_connection((address, port), 1):
                break
            assert process.poll() is None and time.monotonic() < deadline, "the webhook does not listen"
            time.sleep(0.1)
        yield Webhook(f"http://{address}:{port}", file, f"http://{OUTSIDE}:{port}")
    finally:
        process.kill()
        process.wait()
