"""The app's cache: a counter of visits under the key prefix that the binding grants."""

from __future__ import annotations

import redis

from sample_app.bindings import Binding

TYPES = ("redis", "valkey", "cache")
TIMEOUT_SECONDS = 3.0


class Cache:
    """A pool of connections to a server that speaks the Redis protocol."""

    def __init__(self, binding: Binding, default_prefix: str) -> None:
        self.prefix = binding.get("prefix", "key-prefix", default=default_prefix)
        self._client = connect(binding)

    def ping(self) -> None:
        """Raise when the cache does not answer."""
        self._client.exists(self._key)

    def visit(self) -> int:
        """Count a visit; the number of visits so far."""
        return int(self._client.incr(self._key))

    @property
    def _key(self) -> str:
        return f"{self.prefix}visits"


def connect(binding: Binding, timeout: float = TIMEOUT_SECONDS) -> redis.Redis:
    """A client by the binding's entries; connects when first used. With an authority it checks the server."""
    authority = binding.get("ca.crt")
    checks = {"ssl": True, "ssl_ca_data": authority, "ssl_check_hostname": True} if authority else {}
    return redis.Redis(
        host=binding.get("host"),
        port=int(binding.get("port", default="6379")),
        username=binding.get("username") or None,
        password=binding.get("password") or None,
        socket_timeout=timeout,
        socket_connect_timeout=timeout,
        decode_responses=True,
        protocol=2,
        **checks,
    )
