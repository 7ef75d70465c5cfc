"""Splits a certificate's value in the secret store, a PEM text, into certificates and private key, and reads dates."""

from __future__ import annotations

import re

_CERTIFICATE = re.compile(r"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----\n?", re.DOTALL)
_KEY = re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?-----END [A-Z ]*PRIVATE KEY-----\n?", re.DOTALL)


def certificates_of(text: str) -> str:
    """The certificates in a PEM text, in order."""
    return "".join(_CERTIFICATE.findall(text))


def end_of(text: str) -> str:
    """When the first certificate in a PEM text ends, in RFC 3339; empty if it cannot be read."""
    from cryptography import x509

    found = _CERTIFICATE.search(text)
    try:
        certificate = x509.load_pem_x509_certificate(found.group().encode()) if found else None
    except ValueError:
        return ""
    return f"{certificate.not_valid_after_utc:%Y-%m-%dT%H:%M:%SZ}" if certificate is not None else ""


def key_of(text: str) -> str:
    """The private key in a PEM text."""
    return "".join(_KEY.findall(text))
