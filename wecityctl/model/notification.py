"""The channels by which messages of apps leave the city, as values. Pure."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

# The capability type that sends by them.
NOTIFICATION = "notification"
_SUBMISSION, _HTTPS = 587, 443


@dataclass(frozen=True, slots=True)
class Channel:
    """A channel of the city's. With `sink`, its messages are kept instead of being sent, whatever else is stated.

    Mail goes to the relay `server` (`HOST` or `HOST:PORT`), from the address `sender`; SMS and webhooks are posted to
    `url`. `addresses` are the ranges (CIDR) in which that server answers; without them it is on the internet, or its
    host is an address. `credentials` and `authority` name secrets of the city: USER:PASSWORD of the relay or a token,
    and certificates (PEM) by which the server is known instead of the public ones.
    """

    sink: bool = False
    server: str = ""
    sender: str = ""
    url: str = ""
    addresses: tuple[str, ...] = ()
    credentials: str = ""
    authority: str = ""

    @property
    def host_and_port(self) -> tuple[str, int]:
        """Host and port of the server."""
        parts = urlsplit(self.url or f"//{self.server}")
        return parts.hostname or "", parts.port or (_HTTPS if self.url else _SUBMISSION)

    @property
    def ranges(self) -> tuple[str, ...]:
        """The ranges (CIDR) in which the server answers; empty: anywhere on the internet."""
        host, _ = self.host_and_port
        try:
            address = ipaddress.ip_address(host)
        except ValueError:
            return self.addresses
        return (f"{address}/{address.max_prefixlen}",)


@dataclass(frozen=True, slots=True)
class Notification:
    """The channels of a city; `None`: there is no such channel."""

    mail: Channel | None = None
    sms: Channel | None = None
    webhook: Channel | None = None

    @property
    def channels(self) -> Mapping[str, Channel]:
        """The channels that there are, by name."""
        found = {"mail": self.mail, "sms": self.sms, "webhook": self.webhook}
        return {name: channel for name, channel in found.items() if channel is not None}

    @property
    def secrets(self) -> tuple[str, ...]:
        """The names of the secrets that the channels need; those that send nothing need none."""
        sending = (item for item in self.channels.values() if not item.sink)
        used = (name for item in sending for name in (item.credentials, item.authority))
        return tuple(dict.fromkeys(name for name in used if name))
