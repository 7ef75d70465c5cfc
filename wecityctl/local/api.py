"""A minimal client for the embedded cloud's API server, with only the standard library, for bringing a cloud up.

Everything else uses `wecityctl.kube`. This client imports fast and knows a single server.
"""

from __future__ import annotations

import http.client
import json
import ssl
import threading
import time
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

from wecityctl import cancellation
from wecityctl.errors import DeploymentError

_RETRIED = frozenset({429, 500, 503, 504})


class ApiError(DeploymentError):
    """The cloud's API server rejected a request. `status` is the HTTP status; 0 if there was no response."""

    def __init__(self, message: str, *, status: int, details: str = "") -> None:
        super().__init__(message, details=details)
        self.status = status


@dataclass(frozen=True, slots=True)
class Api:
    """A client for one API server. Thread-safe: each thread has its own connection."""

    server: str
    ca: Path
    certificate: Path
    key: Path
    timeout: float = 30.0
    _local: threading.local = field(default_factory=threading.local, repr=False, compare=False)

    def get(self, path: str, **query: str) -> dict[str, Any]:
        """The object or list at `path`, such as `/api/v1/nodes`."""
        return self._json("GET", path, query)

    def find(self, path: str) -> dict[str, Any] | None:
        """The object at `path`; `None` if it does not exist."""
        try:
            return self.get(path)
        except ApiError as error:
            if error.status == 404:
                return None
            raise

    def create(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """POST `body` to the collection `path`. An object that exists already is not changed; returns the object."""
        try:
            return self._json("POST", path, {}, body)
        except ApiError as error:
            if error.status != 409:
                raise
            return self.get(f"{path}/{body['metadata']['name']}")

    def apply(self, path: str, body: Mapping[str, Any], *, manager: str = "wecityctl-local") -> dict[str, Any]:
        """Server-side apply `body` at its `path`; forces ownership of conflicting fields."""
        query = {"fieldManager": manager, "force": "true"}
        return self._json("PATCH", path, query, body, "application/apply-patch+yaml")

    def patch(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """Apply a JSON merge patch."""
        return self._json("PATCH", path, {}, body, "application/merge-patch+json")

    def delete(self, path: str, *, grace_seconds: int | None = None) -> None:
        """Delete the object at `path`; it is no error if it does not exist."""
        query = {} if grace_seconds is None else {"gracePeriodSeconds": str(grace_seconds)}
        try:
            self._json("DELETE", path, query)
        except ApiError as error:
            if error.status != 404:
                raise

    def apply_all(self, items: Iterable[tuple[str, Mapping[str, Any]]], *, connections: int = 8) -> None:
        """`apply` many (path, body) pairs concurrently. Raises the first error after all have ended."""
        with ThreadPoolExecutor(connections) as pool:
            for future in [pool.submit(self.apply, path, body) for path, body in items]:
                future.result()

    def _json(
        self,
        method: str,
        path: str,
        query: Mapping[str, str],
        body: Mapping[str, Any] | None = None,
        content_type: str = "application/json",
    ) -> dict[str, Any]:
        target = quote(path) + (f"?{urlencode(query)}" if query else "")
        data = None if body is None else json.dumps(body).encode()
        headers = {"Accept": "application/json", "User-Agent": "wecityctl-local"}
        if data is not None:
            headers["Content-Type"] = content_type
        deadline = time.monotonic() + self.timeout
        while True:
            status, answer = self._exchange(method, target, data, headers)
            if 200 <= status < 300:
                value: dict[str, Any] = json.loads(answer or "{}")
                return value
            if status not in {*_RETRIED, 0} or time.monotonic() > deadline:
                text = _message(answer)
                raise ApiError(f"{method} {path}: {text}", status=status, details=f"API server {self.server}")
            cancellation.check()
            time.sleep(0.2)

    def _exchange(self, method: str, target: str, data: bytes | None, headers: dict[str, str]) -> tuple[int, str]:
        """Send one request on this thread's connection. Returns status 0 and the reason if there was no response."""
        try:
            connection = self._connection()
            connection.request(method, target, body=data, headers=headers)
            response = connection.getresponse()
            return response.status, response.read().decode()
        except (OSError, http.client.HTTPException) as error:
            self._local.connection = None
            return 0, str(error) or type(error).__name__

    def _connection(self) -> http.client.HTTPSConnection:
        connection: http.client.HTTPSConnection | None = getattr(self._local, "connection", None)
        if connection is None:
            context = ssl.create_default_context(cafile=str(self.ca))
            context.load_cert_chain(self.certificate, self.key)
            parts = urlsplit(self.server)
            connection = http.client.HTTPSConnection(
                parts.hostname or "", parts.port, timeout=self.timeout, context=context
            )
            self._local.connection = connection
        return connection


def _message(answer: str) -> str:
    try:
        return str(json.loads(answer)["message"])
    except (ValueError, KeyError, TypeError):
        return answer.strip()[:500] or "no answer"
