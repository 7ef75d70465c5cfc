"""TLS: creates contexts from certificates in memory, and reads the validity of certificates.

Python's ssl module loads a client key from a file only. It gets an in-memory file (memfd), or, where the system has
none, a private file that is deleted before this module returns.
"""

from __future__ import annotations

import os
import socket
import ssl
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from wecityctl.errors import AuthenticationError, ConfigurationError

_PROBE_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class TlsMaterial:
    """The content of a TLS context; equal values share one context and its connections."""

    ca: bytes | None = field(default=None, repr=False)
    insecure: bool = False
    cert: bytes | None = field(default=None, repr=False)
    key: bytes | None = field(default=None, repr=False)


def make_context(material: TlsMaterial) -> ssl.SSLContext:
    """A client context. Raises `ConfigurationError` for a bad CA, `AuthenticationError` for a bad certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if material.insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    elif material.ca is None:
        context.load_default_certs()
    else:
        _load_ca(context, material.ca)
    if material.cert and material.key:
        _load_client_certificate(context, material.cert, material.key)
    return context


def handshake_alert(context: ssl.SSLContext, address: tuple[str, int], server_name: str) -> ssl.SSLError | None:
    """The TLS error with which a server drops a connection; None if it sends none. Blocks for at most a few seconds.

    In TLS 1.3 a client certificate is rejected after the handshake, which asyncio reports as a mere disconnection.
    """
    try:
        with (
            socket.create_connection(address, timeout=_PROBE_SECONDS) as plain,
            context.wrap_socket(plain, server_hostname=server_name) as secured,
        ):
            secured.sendall(b"GET /version HTTP/1.0\r\n\r\n")
            secured.recv(1)
    except ssl.SSLEOFError:
        return None
    except ssl.SSLError as error:
        return error
    except OSError:
        return None
    return None


def validity(pem: bytes) -> tuple[datetime, datetime] | None:
    """The period of validity of the first certificate in `pem`; None when it cannot be read."""
    # Imported here because it is only needed after a failure, never for a working connection.
    from cryptography import x509

    try:
        certificate = x509.load_pem_x509_certificate(pem)
    except ValueError:
        return None
    return certificate.not_valid_before_utc, certificate.not_valid_after_utc


def expired_on(pem: bytes | None, now: datetime | None = None) -> datetime | None:
    """When the certificate expired; None when it has not."""
    found = validity(pem) if pem else None
    if found is None:
        return None
    return found[1] if found[1] < (now or datetime.now(UTC)) else None


def _load_ca(context: ssl.SSLContext, ca: bytes) -> None:
    try:
        context.load_verify_locations(cadata=ca.decode("ascii"))
    except (ssl.SSLError, UnicodeDecodeError, ValueError) as error:
        raise ConfigurationError(
            "the cluster's certificate authority cannot be read",
            details=str(error),
            resolution="certificate-authority(-data) must hold PEM certificates",
        ) from error


def _load_client_certificate(context: ssl.SSLContext, cert: bytes, key: bytes) -> None:
    try:
        with _transient_file(cert + b"\n" + key) as path:
            # An empty password: an encrypted key fails instead of prompting on the terminal.
            context.load_cert_chain(path, password="")
    except ssl.SSLError as error:
        encrypted = b"ENCRYPTED" in key
        raise AuthenticationError(
            "the client key is encrypted" if encrypted else "the client certificate and its key cannot be used",
            details="" if encrypted else str(error),
            resolution="give the key without a passphrase"
            if encrypted
            else "client-certificate and client-key must be PEM and belong together",
        ) from error


@contextmanager
def _transient_file(data: bytes) -> Iterator[str]:
    if hasattr(os, "memfd_create") and Path("/proc/self/fd").is_dir():
        descriptor = os.memfd_create("wecityctl", os.MFD_CLOEXEC)
        try:
            os.fchmod(descriptor, 0o600)
            os.write(descriptor, data)
            yield f"/proc/self/fd/{descriptor}"
        finally:
            os.close(descriptor)
        return
    # mkdtemp creates with mode 0700 and mkstemp with 0600; both are deleted once the context exists.
    with tempfile.TemporaryDirectory(prefix="wecityctl-") as directory:
        descriptor, path = tempfile.mkstemp(dir=directory)
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(data)
        yield path
