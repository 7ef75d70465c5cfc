"""A small part of our own to install, and an HTTP server that behaves badly when asked to."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from wecityctl.toolchain.catalogue import Catalogue
from wecityctl.toolchain.model import Artifact, Binary, Part, PartEvent, Phase, Platform, VersionRange

PLATFORM = Platform("linux", "amd64")
VERSION = "1.2.3"
HOST = "vendor.example"
ARCHIVE = f"tiny-{VERSION}.tar.gz"


def program(version: str = VERSION, note: str = "") -> bytes:
    """A program that tells its version."""
    return f"#!/bin/sh\n# {note}\necho tiny version v{version}\n".encode()


def put(path: Path, content: bytes, mode: int = 0o755) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    path.chmod(mode)
    return path


def tiny_artifacts(_: Platform) -> tuple[Artifact, ...]:
    return (Artifact(f"https://{HOST}/tiny/{ARCHIVE}", {"tiny": "tiny/bin/tiny"}),)


def tiny(name: str = "tiny", **changes: object) -> Part:
    """A part with one program called tiny, offered by every source."""
    values: dict[str, object] = {
        "name": name,
        "version": f"v{VERSION}",
        "binaries": (Binary("tiny", "tiny.example/tiny"),),
        "accepts": VersionRange("1.2.0", "1.3"),
        "artifacts": tiny_artifacts,
    }
    return Part(**{**values, **changes})  # type: ignore[arg-type]


def catalogue(*parts: Part) -> Catalogue:
    return Catalogue(parts or (tiny(),), ())


def archive(members: dict[str, bytes]) -> bytes:
    """A .tar.gz of `members`."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name, content in members.items():
            header = tarfile.TarInfo(name)
            header.size = len(content)
            tar.addfile(header, io.BytesIO(content))
    return buffer.getvalue()


def write_lock(toolchain: Path, digests: dict[str, str], *parts: str) -> None:
    """Record `digests` for each of `parts`."""
    platforms = {str(PLATFORM): digests}
    data = {"schema": 1, "downloads": {part: {f"v{VERSION}": platforms} for part in parts or ("tiny",)}}
    put(toolchain / "lock.json", json.dumps(data).encode(), 0o644)


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@dataclass
class Recorder:
    """Keeps the progress it is told."""

    events: list[PartEvent] = field(default_factory=list)

    def __call__(self, event: PartEvent) -> None:
        self.events.append(event)

    def said(self, phase: Phase, *words: str) -> bool:
        return any(each.phase is phase and all(word in each.detail for word in words) for each in self.events)


Answer = Callable[[BaseHTTPRequestHandler], None]


@dataclass
class Vendor:
    """A local web server: what it answers by path, and what it was asked."""

    base: str
    answers: dict[str, Answer]
    asked: list[str]

    def offer(self, data: bytes, path: str = f"/{HOST}/tiny/{ARCHIVE}") -> None:
        def answer(handler: BaseHTTPRequestHandler) -> None:
            handler.send_response(200)
            handler.send_header("Content-Length", str(len(data)))
            handler.end_headers()
            handler.wfile.write(data)

        self.answers[path] = answer


@contextmanager
def vendor() -> Iterator[Vendor]:
    answers: dict[str, Answer] = {}
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            asked.append(f"HEAD {self.path}")
            self.send_error(404)

        def do_GET(self) -> None:
            asked.append(f"GET {self.path}")
            answer = answers.get(self.path)
            if answer is None:
                self.send_error(404)
            else:
                answer(self)

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield Vendor(f"http://127.0.0.1:{server.server_port}", answers, asked)
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
