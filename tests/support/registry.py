"""An image registry that asks for a user and a password, as a process; what of the distribution API a pull needs.

Run as a program inside a node's network namespace, so that its address there is a loopback one, for which the node's
container runtime does without TLS: `python registry.py PORT USER:PASSWORD ARCHIVE`. The archive is an OCI layout in a
tar file; its only image is served under every repository and tag. A line on stdin replaces the password.
"""

from __future__ import annotations

import base64
import json
import socket
import sys
import tarfile
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

MANIFEST = "application/vnd.oci.image.manifest.v1+json"


class Registry(ThreadingHTTPServer):
    """Serves the blobs of `archive` to whoever has `credential`."""

    def __init__(self, port: int, credential: str, archive: str) -> None:
        super().__init__(("127.0.0.1", port), Handler)
        self.credential = credential
        with tarfile.open(archive) as tar:
            files = {item.name: tar.extractfile(item) for item in tar.getmembers() if item.isfile()}
            self.files = {name: stream.read() for name, stream in files.items() if stream is not None}
        self.manifest = json.loads(self.files["index.json"])["manifests"][0]["digest"]


class Handler(BaseHTTPRequestHandler):
    """Answers pulls: `/v2/`, manifests and blobs."""

    server: Registry

    def handle(self) -> None:
        """Tell a client that begins with TLS that this is HTTP: for a loopback address it then does without."""
        if self.connection.recv(1, socket.MSG_PEEK) == b"\x16":
            self.wfile.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            return
        super().handle()

    def do_GET(self) -> None:
        self._answer(with_body=True)

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def _answer(self, *, with_body: bool) -> None:
        wanted = "Basic " + base64.b64encode(self.server.credential.encode()).decode()
        if self.headers.get("Authorization") != wanted:
            self._send(401, b"", "text/plain", with_body=with_body)
            return
        kind, _, name = self.path.rpartition("/")
        if kind.endswith("/manifests"):
            name = name if name.startswith("sha256:") else self.server.manifest
        blob = self.server.files.get(f"blobs/{name.replace(':', '/')}")
        if self.path == "/v2/":
            self._send(200, b"{}", "application/json", with_body=with_body)
        elif blob is None:
            self._send(404, b"", "text/plain", with_body=with_body)
        else:
            media = MANIFEST if kind.endswith("/manifests") else "application/octet-stream"
            self._send(200, blob, media, name, with_body=with_body)

    def _send(self, code: int, body: bytes, media: str, digest: str = "", *, with_body: bool) -> None:
        self.send_response(code)
        if code == 401:
            self.send_header("WWW-Authenticate", 'Basic realm="test"')
        if digest:
            self.send_header("Docker-Content-Digest", digest)
        self.send_header("Content-Type", media)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if with_body:
            self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def main() -> None:
    """Serve until stdin ends."""
    port, credential, archive = sys.argv[1:]
    registry = Registry(int(port), credential, archive)
    threading.Thread(target=registry.serve_forever, daemon=True).start()
    print("ready", flush=True)
    for line in sys.stdin:
        registry.credential = line.strip()
        print("changed", flush=True)


if __name__ == "__main__":
    main()
