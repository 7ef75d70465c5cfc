"""Certificates for tests: an authority, and server and client certificates of any validity. Keys are EC P-256."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID


@dataclass(frozen=True)
class Pair:
    """A certificate and its key, both PEM."""

    cert: bytes
    key: bytes = field(repr=False)


def _name(common_name: str, organizations: Sequence[str] = ()) -> x509.Name:
    attributes = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, o) for o in organizations]
    return x509.Name([*attributes, x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def make_key() -> Pair:
    """A key pair without certificate (`cert` is the public key)."""
    key = ec.generate_private_key(ec.SECP256R1())
    public = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    return Pair(public, _key_pem(key))


class Authority:
    """A certificate authority."""

    def __init__(self, name: str = "test-ca") -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._subject = _name(name)
        certificate = (
            self._builder(self._subject, self._key, timedelta(days=-1), timedelta(days=30))
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .add_extension(x509.KeyUsage(True, False, False, False, False, True, True, False, False), critical=True)
            .sign(self._key, hashes.SHA256())
        )
        self.cert = certificate.public_bytes(serialization.Encoding.PEM)
        self.key = _key_pem(self._key)

    def server(
        self,
        names: Sequence[str] = ("localhost",),
        addresses: Sequence[str] = ("127.0.0.1",),
        *,
        begins: timedelta = timedelta(days=-1),
        ends: timedelta = timedelta(days=30),
    ) -> Pair:
        """A server certificate; `begins` and `ends` are relative to now."""
        alternatives: list[x509.GeneralName] = [x509.DNSName(n) for n in names]
        alternatives += [x509.IPAddress(ipaddress.ip_address(a)) for a in addresses]
        key = ec.generate_private_key(ec.SECP256R1())
        builder = self._builder(_name("server"), key, begins, ends).add_extension(
            x509.SubjectAlternativeName(alternatives), critical=False
        )
        return self._sign(builder, key, ExtendedKeyUsageOID.SERVER_AUTH)

    def client(
        self,
        user: str,
        groups: Sequence[str] = (),
        *,
        begins: timedelta = timedelta(days=-1),
        ends: timedelta = timedelta(days=30),
    ) -> Pair:
        """A client certificate; groups become organizations, as Kubernetes reads them."""
        key = ec.generate_private_key(ec.SECP256R1())
        return self._sign(self._builder(_name(user, groups), key, begins, ends), key, ExtendedKeyUsageOID.CLIENT_AUTH)

    def _builder(
        self, subject: x509.Name, key: ec.EllipticCurvePrivateKey, begins: timedelta, ends: timedelta
    ) -> x509.CertificateBuilder:
        now = datetime.now(UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now + begins)
            .not_valid_after(now + ends)
        )

    def _sign(
        self, builder: x509.CertificateBuilder, key: ec.EllipticCurvePrivateKey, usage: x509.ObjectIdentifier
    ) -> Pair:
        certificate = builder.add_extension(x509.ExtendedKeyUsage([usage]), critical=False).sign(
            self._key, hashes.SHA256()
        )
        return Pair(certificate.public_bytes(serialization.Encoding.PEM), _key_pem(key))
