"""Digests of passwords, for places that do not need the password itself."""

from __future__ import annotations

import hashlib


def sha256(password: str) -> str:
    """The SHA-256 of a password in hexadecimal, as the access list of a cache stores it."""
    return hashlib.sha256(password.encode()).hexdigest()
