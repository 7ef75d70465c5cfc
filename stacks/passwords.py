"""Digests of passwords: what is stored where the password itself is not needed."""

from __future__ import annotations

import hashlib


def sha256(password: str) -> str:
    """The SHA-256 of a password in hexadecimal digits, as a cache's access list stores it."""
    return hashlib.sha256(password.encode()).hexdigest()
