"""Selects the proxy for a URL from the environment, by the rules of Go's net/http, which kubectl follows."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from urllib.parse import urlsplit

_PORTS = {"http": 80, "https": 443}


def proxy_from_environment(url: str, environ: Mapping[str, str]) -> str:
    """The proxy's URL, or an empty string for a direct connection. Loopback addresses are never proxied."""
    parts = urlsplit(url)
    name = "HTTPS_PROXY" if parts.scheme == "https" else "HTTP_PROXY"
    proxy = _either(environ, name)
    if not proxy:
        return ""
    host = (parts.hostname or "").lower()
    if _excluded(host, parts.port or _PORTS.get(parts.scheme, 0), _either(environ, "NO_PROXY")):
        return ""
    return proxy if "://" in proxy else f"http://{proxy}"


def is_loopback(host: str) -> bool:
    """Whether the host is `localhost` or an address of the loopback network."""
    address = _address(host)
    return host == "localhost" or (address is not None and address.is_loopback)


def _either(environ: Mapping[str, str], name: str) -> str:
    return environ.get(name) or environ.get(name.lower()) or ""


def _excluded(host: str, port: int, no_proxy: str) -> bool:
    if is_loopback(host):
        return True
    return any(_matches(entry.strip().lower(), host, port) for entry in no_proxy.split(",") if entry.strip())


def _matches(entry: str, host: str, port: int) -> bool:
    if entry == "*":
        return True
    address = _address(host)
    if "/" in entry:
        try:
            return address is not None and address in ipaddress.ip_network(entry, strict=False)
        except ValueError:
            return False
    name, entry_port = _split_port(entry)
    if entry_port and entry_port != port:
        return False
    wanted = _address(name)
    if wanted is not None or address is not None:
        return wanted == address
    if name.startswith("*."):
        name = name[1:]
    # ".example.com" matches only its subdomains; "example.com" matches itself and its subdomains.
    return host.endswith(name) if name.startswith(".") else host == name or host.endswith(f".{name}")


def _split_port(entry: str) -> tuple[str, int]:
    if entry.startswith("["):
        name, _, rest = entry[1:].partition("]")
        return name, int(rest[1:]) if rest[1:].isdigit() else 0
    name, colon, port = entry.rpartition(":")
    if colon and port.isdigit() and ":" not in name:
        return name, int(port)
    return entry, 0


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None
