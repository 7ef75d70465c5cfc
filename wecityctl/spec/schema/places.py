"""Checks of where states are, what encrypts their secrets, and where alerts and messages go.

Which place a URL opens is the business of `objects`.
"""

from __future__ import annotations

import ipaddress
import re
from typing import Final
from urllib.parse import urlsplit

from wecityctl.model.fileurl import SCHEME, FileUrlError, file_path
from wecityctl.spec.nodes import shorten
from wecityctl.spec.schema.refuse import refuse

_BACKENDS: Final = "file:///directory, s3://bucket, postgres://server/database or the https:// URL of a Pulumi service"
# Where Pulumi keeps states and we do not, by scheme.
_UNSUPPORTED: Final = {"azblob": "Azure Blob Storage", "gs": "Google Cloud Storage"}

# The characters of RFC 3986. Alertmanager does not start with a URL that has others, and `{{` begins a template in it.
_WEBHOOK: Final = re.compile(r"https?://(?:[A-Za-z0-9._~!$&'()*+,;=:@/?#\[\]-]|%[0-9A-Fa-f]{2})+")
_NAME: Final = re.compile(r"(?:[a-z0-9_](?:[a-z0-9_-]*[a-z0-9_])?\.)*[a-z0-9_](?:[a-z0-9_-]*[a-z0-9_])?")
# A name that ends so is an address to some resolvers, such as 127.1 and 0x7f000001.
_NUMBER: Final = re.compile(r"[0-9]+|0x[0-9a-f]*")
# Metadata services at addresses that are not link-local: of Alibaba Cloud, and of AWS for IPv6.
_METADATA: Final = (ipaddress.ip_address("100.100.100.200"), ipaddress.ip_address("fd00:ec2::254"))


def check_backend(text: str) -> str:
    """The URL of a state back end as it is written; empty for the local default. Raises the error of `refuse`."""
    if text.startswith(SCHEME):
        try:
            file_path(text)
        except FileUrlError as error:
            raise refuse(
                f"{shorten(text)!r} is not a state back end: {error.message}",
                "file:///directory, with %20 for a blank, %23 for #, %25 for % and %3F for ?",
                error.suggestion,
            ) from None
        return text
    if place := _UNSUPPORTED.get(text.partition("://")[0]):
        # The keys of the objects are the same in every place (pulumi/pkg backend/diy, version 1).
        raise refuse(
            f"{shorten(text)!r}: {place} is not supported as a state back end",
            f"{_BACKENDS}. If states are there, copy everything below .pulumi/ with the vendor's tool to "
            "DIRECTORY/.pulumi/ and name file:///DIRECTORY; `wecityctl state move` takes them on from there",
        )
    if not text or re.fullmatch(r"(?:file|s3|postgres|https?)://\S+", text):
        return text
    raise refuse(f"{shorten(text)!r} is not a state back end", f"empty for the local default, or {_BACKENDS}")


def check_secrets_provider(text: str) -> str:
    """A secrets provider of Pulumi as it is written. Raises the error of `refuse`."""
    if text == "passphrase" or re.fullmatch(r"(?:awskms|azurekeyvault|gcpkms|hashivault)://\S+", text):
        return text
    expected = "passphrase, or a URL of awskms://, azurekeyvault://, gcpkms:// or hashivault://"
    raise refuse(f"{shorten(text)!r} is not a secrets provider", expected)


def check_webhook(text: str) -> str:
    """The URL of a webhook as it is written. Raises the error of `refuse`.

    Alerts say what is wrong with a city, so that they travel over the internet in https alone. Addresses of the sender
    itself and of its surroundings, such as a vendor's metadata service, are nobody's webhook. What the sender cannot
    read, or takes for a template, would keep it from starting, and everybody from being told.
    """
    expected = "an address such as https://oncall.example/hooks/city"
    shown = repr(shorten(text))
    if len(text) > 500 or not _WEBHOOK.fullmatch(text):
        raise refuse(f"{shown} is not the URL of a webhook", f"{expected}, with %XX for other characters")
    try:
        parts = urlsplit(text)
        host, port = (parts.hostname or "").removesuffix("."), parts.port
    except ValueError:
        raise refuse(f"{shown} is not the URL of a webhook", expected) from None
    if not host or port == 0 or "@" in parts.netloc or parts.fragment:
        raise refuse(f"{shown} is not the URL of a webhook", f"{expected}, without a user and a fragment")
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        address = None
        if not _NAME.fullmatch(host) or _NUMBER.fullmatch(host.rpartition(".")[2]):
            raise refuse(f"{shown} has neither a name nor an address as its host", expected) from None
    if address is None and _is_inside(host):
        raise refuse(f"{shown} is inside the cluster", "an address outside the city's clusters")
    if address is not None:
        _check_address(address, shown)
    if parts.scheme == "http" and (address is None or not address.is_private):
        raise refuse(f"{shown} is not encrypted", "https, or http at a private address", f"https{text[4:]}")
    return text


def check_mail_server(text: str) -> str:
    """The host of a mail relay, with or without its port, as it is written. Raises the error of `refuse`."""
    shown, expected = repr(shorten(text)), "a relay such as relay.example:587"
    found = re.fullmatch(r"([A-Za-z0-9._-]{1,253})(?::([0-9]{1,5}))?", text)
    if found is None or not 0 < int(found[2] or 587) < 65536:
        raise refuse(f"{shown} is not the host of a mail relay", expected)
    host = found[1].lower().removesuffix(".")
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        address = None
        if not _NAME.fullmatch(host) or _NUMBER.fullmatch(host.rpartition(".")[2]):
            raise refuse(f"{shown} has neither a name nor an address as its host", expected) from None
    if address is not None:
        _check_address(address, shown)
    elif _is_inside(host):
        raise refuse(f"{shown} is inside the cluster", "an address outside the city's clusters")
    return text


def _is_inside(name: str) -> bool:
    """Whether a pod would find a service of its cluster by this name.

    Resolvers of pods also try a name below the cluster's own domains, as `SERVICE` and `SERVICE.NAMESPACE`. Namespaces
    of a city have a hyphen, and no top-level domain has one outside its code (RFC 5890).
    """
    *before, last = name.split(".")
    return (
        not before
        or last in ("localhost", "svc", "default")
        or ("-" in last and not last.startswith("xn--"))
        or name.endswith(".cluster.local")
    )


def _check_address(address: ipaddress.IPv4Address | ipaddress.IPv6Address, shown: str) -> None:
    if isinstance(address, ipaddress.IPv6Address) and (address.ipv4_mapped is not None or address.scope_id):
        raise refuse(f"{shown} has an IPv4 address written as IPv6, or a device", "the address alone, as it is routed")
    if address.is_loopback or address.is_link_local or address.is_unspecified or address.is_multicast:
        raise refuse(f"{shown} is a loopback or link-local address", "an address outside the city's clusters")
    if address in _METADATA:
        raise refuse(f"{shown} is a vendor's metadata service", "an address outside the city's clusters")
