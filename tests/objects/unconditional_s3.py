"""A server of S3's protocol that ignores conditions, as some do: as much of it as the library asks for.

The real server of the other tests takes them.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit


@contextlib.contextmanager
def unconditional_s3(*, refuses: bool = False, busy: list[bytes] | None = None) -> Iterator[str]:
    """The URL of its bucket. `refuses`: a condition is answered with 501, in place of being ignored.

    `busy` are the contents of answers with 503, one for each of the next requests.
    """
    stored: dict[str, tuple[bytes, str]] = {}

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _key(self) -> str:
            return unquote(urlsplit(self.path).path)

        def _answer(self, status: int, data: bytes = b"", **headers: str) -> None:
            if busy:
                status, data = 503, busy.pop(0)
            self.send_response(status)
            for name, value in {"ETag": '"1"', "Last-Modified": "Mon, 01 Jan 2024 00:00:00 GMT", **headers}.items():
                self.send_header(name.replace("_", "-"), value)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data if self.command != "HEAD" else b"")

        def do_PUT(self) -> None:
            data = self.rfile.read(int(self.headers["Content-Length"] or 0))
            if refuses and self.headers["If-Match"]:
                self._answer(501)
                return
            if not busy:
                stored[self._key()] = data, self.headers["x-amz-meta-wecity-writer"] or ""
            self._answer(200)

        def do_GET(self) -> None:
            key = self._key()
            if "list-type" in self.path:
                self._answer(200, b"<ListBucketResult></ListBucketResult>")
            elif key in stored:
                data, token = stored[key]
                self._answer(200, data, x_amz_meta_wecity_writer=token)
            else:
                self._answer(404)

        def do_HEAD(self) -> None:
            self.do_GET()

        def do_DELETE(self) -> None:
            stored.pop(self._key(), None)
            self._answer(204)

        def log_message(self, *_: object) -> None:
            """Nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        where = f"endpoint=127.0.0.1:{server.server_port}&disableSSL=true&s3ForcePathStyle=true"
        yield f"s3://states/x?anonymous=true&region=us-east-1&{where}"
        assert not any("/.wecity/partial/" in key for key in stored)
    finally:
        server.shutdown()
        server.server_close()
