"""A browser as far as sign-in needs one: it follows redirects, and keeps cookies as browsers do."""

from __future__ import annotations

import html
import http.client
import json
import re
import socket
import ssl
import urllib.parse
from dataclasses import dataclass, field
from typing import Any

NAVIGATION = {"Sec-Fetch-Mode": "navigate", "Sec-Fetch-Site": "none", "Accept": "text/html", "User-Agent": "browser"}


@dataclass(frozen=True)
class Page:
    """An answer, and the address that it came from."""

    url: str
    status: int
    headers: http.client.HTTPMessage
    text: str

    @property
    def seen(self) -> dict[str, str]:
        """The headers of the request that the app saw: names in lower case, several values joined by a line break."""
        assert self.status == 200, f"{self.url}: {self.status} {self.text}"
        found: dict[str, str] = json.loads(self.text)["headers"]
        return found

    @property
    def claims(self) -> dict[str, str]:
        """What the app is told of who signed in."""
        return {key.removeprefix("x-wecity-"): value for key, value in self.seen.items() if "wecity" in key}

    @property
    def location(self) -> str:
        return urllib.parse.urljoin(self.url, self.headers["Location"])


@dataclass
class Browser:
    """`cookies` are by host, then by name: value and path. All hosts are at `port` of `address`."""

    port: int
    authority: str
    cookies: dict[str, dict[str, tuple[str, str]]] = field(default_factory=dict)
    address: str = "127.0.0.1"

    def ask(
        self, url: str, form: dict[str, str] | None = None, method: str = "", body: bytes = b"", **more: str
    ) -> Page:
        """One answer, without following it."""
        parts = urllib.parse.urlsplit(url)
        host = parts.hostname or ""
        assert (parts.scheme, parts.port) == ("https", self.port), url
        path = parts.path or "/"
        own = [
            f"{name}={value}" for name, (value, where) in self.cookies.get(host, {}).items() if _is_below(path, where)
        ]
        headers = {**NAVIGATION, **{key.replace("_", "-"): value for key, value in more.items()}}
        if own:
            headers["Cookie"] = "; ".join([*own, *filter(None, [headers.get("Cookie", "")])])
        if form is not None:
            body = urllib.parse.urlencode(form).encode()
            headers["Content-Type"] = "application/x-www-form-urlencoded"
        connection = http.client.HTTPConnection(self.address, self.port)
        connection.sock = self._connect(host)
        target = f"{path}?{parts.query}" if parts.query else path
        headers["Host"] = f"{host}:{self.port}"
        connection.request(method or ("POST" if body else "GET"), target, body or None, headers)
        answer = connection.getresponse()
        text = answer.read().decode(errors="replace")
        connection.close()
        for cookie in answer.headers.get_all("Set-Cookie") or ():
            self._keep(host, cookie)
        return Page(url, answer.status, answer.headers, text)

    def go(self, url: str, form: dict[str, str] | None = None, **headers: str) -> Page:
        """Where an address leads in the end."""
        page = self.ask(url, form, **headers)
        for _ in range(12):
            if page.status not in (301, 302, 303):
                return page
            page = self.ask(page.location, **headers)
        raise AssertionError(f"redirects without an end, the last to {page.url}")

    def sign_in(self, url: str, username: str, password: str) -> Page:
        """Go to an address, fill in the form that it leads to, and go where that leads."""
        page = self.go(url)
        action = re.search(r'<form[^>]* action="([^"]+)"', page.text)
        assert action is not None, f"{page.url}: {page.status} {page.text[:500]}"
        return self.go(html.unescape(action[1]), {"username": username, "password": password, "credentialId": ""})

    def send(self, host: str, request: bytes) -> str:
        """The answer to these bytes, until the connection is closed."""
        with self._connect(host) as connection:
            connection.sendall(request)
            answer = b""
            while part := connection.recv(65536):
                answer += part
        return answer.decode(errors="replace")

    def _connect(self, host: str) -> ssl.SSLSocket:
        plain = socket.create_connection((self.address, self.port), timeout=30)
        return ssl.create_default_context(cadata=self.authority).wrap_socket(plain, server_hostname=host)

    def _keep(self, host: str, cookie: str) -> None:
        first, *rest = (part.strip() for part in cookie.split(";"))
        name, _, value = first.partition("=")
        attributes = {key.lower(): text for key, _, text in (part.partition("=") for part in rest)}
        if name.startswith("__Host-"):
            assert attributes.get("path") == "/" and "secure" in attributes and "domain" not in attributes, cookie
        assert attributes.get("domain", host).lstrip(".") == host, cookie
        kept = self.cookies.setdefault(host, {})
        if attributes.get("max-age") == "0" or "1970" in attributes.get("expires", ""):
            kept.pop(name, None)
        else:
            kept[name] = (value, attributes.get("path", "/"))

    def copy(self) -> Browser:
        """Another browser with the same cookies."""
        kept = {host: dict(own) for host, own in self.cookies.items()}
        return Browser(self.port, self.authority, kept, self.address)


def _is_below(path: str, place: str) -> bool:
    return path == place or path.startswith(place.rstrip("/") + "/")


def query_of(url: str) -> dict[str, Any]:
    """The parameters of an address, of each the last."""
    return dict(urllib.parse.parse_qsl(urllib.parse.urlsplit(url).query, keep_blank_values=True))
