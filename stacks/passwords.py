"""Digests of passwords, for places that do not need the password itself."""

from __future__ import annotations

import hashlib
import hmac
from base64 import b64encode

# What PostgreSQL 15 uses for verifiers of its own, `SCRAM_DEFAULT_ITERATIONS`.
_ITERATIONS = 4096


def sha256(password: str) -> str:
    """The SHA-256 of a password in hexadecimal, as the access list of a cache stores it."""
    return hashlib.sha256(password.encode()).hexdigest()


def scram_verifier(account: str, password: str) -> str:
    """The SCRAM-SHA-256 verifier of an ASCII password, as PostgreSQL stores it and takes it in place of the password.

    Nobody can sign in with it. The salt is derived from `account` and `password`, so that the same input gives the same
    verifier: generated passwords are random. Source: RFC 5803 for the parts, PostgreSQL's `scram_build_secret` for the
    form.
    """
    salt = hmac.digest(password.encode(), b"scram salt of " + account.encode(), "sha256")[:16]
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), salt, _ITERATIONS)
    stored = hashlib.sha256(hmac.digest(salted, b"Client Key", "sha256")).digest()
    server = hmac.digest(salted, b"Server Key", "sha256")
    salt_text, stored_text, server_text = (b64encode(part).decode() for part in (salt, stored, server))
    return f"SCRAM-SHA-256${_ITERATIONS}:{salt_text}${stored_text}:{server_text}"
