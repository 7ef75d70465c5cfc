"""Checks of where states are, what encrypts their secrets, and where alerts go.

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
    itself and of its surroundings, such as a vendor's metadata service, are nobody's webhook.
    """
    expected = "an address such as https://oncall.example/hooks/city"
    shown = repr(shorten(text))
    if len(text) > 500 or not re.fullmatch(r"https?://[!-~]+", text):
        raise refuse(f"{shown} is not the URL of a webhook", expected)
    try:
        parts = urlsplit(text)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        raise refuse(f"{shown} is not the URL of a webhook", expected) from None
    if not host or port == 0 or "@" in parts.netloc or parts.fragment:
        raise refuse(f"{shown} is not the URL of a webhook", f"{expected}, without a user and a fragment")
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        address = None
    if address is None and (host == "localhost" or host.endswith((".localhost", ".cluster.local", ".svc"))):
        raise refuse(f"{shown} is inside the cluster", "an address outside the city's clusters")
    if address is not None and (address.is_loopback or address.is_link_local or address.is_unspecified):
        raise refuse(f"{shown} is a loopback or link-local address", "an address outside the city's clusters")
    if parts.scheme == "http" and (address is None or not address.is_private):
        raise refuse(f"{shown} is not encrypted", "https, or http at a private address", f"https{text[4:]}")
    return text
