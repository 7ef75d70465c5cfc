"""Splits a certificate's value in the secret store, a PEM text, into certificates and private key."""

from __future__ import annotations

import re

_CERTIFICATE = re.compile(r"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----\n?", re.DOTALL)
_KEY = re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?-----END [A-Z ]*PRIVATE KEY-----\n?", re.DOTALL)


def certificates_of(text: str) -> str:
    """The certificates in a PEM text, in order."""
    return "".join(_CERTIFICATE.findall(text))


def key_of(text: str) -> str:
    """The private key in a PEM text."""
    return "".join(_KEY.findall(text))
