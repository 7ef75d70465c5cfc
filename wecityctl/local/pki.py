"""The certificates of one embedded cloud: CAs, server and client certificates, and the service account key.

Files are in one directory with mode 0600. They are created again if they are missing, about to expire, or issued for
other names.
"""

from __future__ import annotations

import base64
import datetime
import ipaddress
import json
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from wecityctl import issuing
from wecityctl.errors import WecityError
from wecityctl.paths import private_dir, write_private

CLUSTER_CA = "ca"
FRONT_PROXY_CA = "front-proxy-ca"

_CA_LIFE = datetime.timedelta(days=3650)
_LEAF_LIFE = datetime.timedelta(days=366)
# A cloud that is started at least every few months never has an expired certificate.
_RENEW_BEFORE = datetime.timedelta(days=183)
# The clocks of machines that resume from sleep or a snapshot may be behind.
_CLOCK_SKEW = datetime.timedelta(hours=1)


class PkiError(WecityError):
    """A certificate or key on disk cannot be read, or does not belong to this cloud."""


@dataclass(frozen=True, slots=True)
class KeyPair:
    """The paths of a certificate and its private key, both PEM with mode 0600."""

    certificate: Path
    key: Path

    def certificate_pem(self) -> bytes:
        return self.certificate.read_bytes()

    def key_pem(self) -> bytes:
        return self.key.read_bytes()


class Pki:
    """The certificates in `directory`. Every method creates what is missing and returns its path."""

    def __init__(self, directory: Path, cloud: str, *, now: datetime.datetime | None = None) -> None:
        self._directory = private_dir(directory)
        self._cloud = cloud
        self._now = now or datetime.datetime.now(datetime.UTC)

    @property
    def directory(self) -> Path:
        return self._directory

    def authority(self, name: str = CLUSTER_CA) -> KeyPair:
        """The certificate authority `name`. It is created once and kept for the life of the cloud."""
        pair = self._pair(name)
        if pair.certificate.exists() and pair.key.exists():
            if _load(pair.certificate).not_valid_after_utc - self._now > datetime.timedelta(days=1):
                return pair
            raise PkiError(
                f"the certificate authority of cloud {self._cloud} has come to its end",
                details=str(pair.certificate),
                resolution=f"run: wecityctl local reset --name {self._cloud} --confirm={self._cloud}",
            )
        key = ec.generate_private_key(ec.SECP256R1())
        subject = _name(f"wecity-{self._cloud}-{name}", ())
        builder = (
            issuing.certificate(subject, subject, key.public_key(), self._now - _CLOCK_SKEW, self._now + _CA_LIFE)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(issuing.key_usage(signs=True, issues=True), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        )
        self._store(pair, builder.sign(key, hashes.SHA256()), key)
        return pair

    def client(
        self, file: str, common_name: str, organizations: Iterable[str] = (), *, authority: str = CLUSTER_CA
    ) -> KeyPair:
        """A client certificate in `<file>.crt` and `<file>.key`: CN is the user, each O a group."""
        return self._leaf(file, common_name, tuple(organizations), (), (ExtendedKeyUsageOID.CLIENT_AUTH,), authority)

    def server(
        self,
        file: str,
        common_name: str,
        hosts: Iterable[str],
        *,
        organizations: Iterable[str] = (),
        also_client: bool = False,
        authority: str = CLUSTER_CA,
    ) -> KeyPair:
        """A server certificate in `<file>.crt` and `<file>.key` for `hosts`, which are DNS names or IP addresses."""
        usages = (ExtendedKeyUsageOID.SERVER_AUTH,) + ((ExtendedKeyUsageOID.CLIENT_AUTH,) if also_client else ())
        return self._leaf(file, common_name, tuple(organizations), tuple(dict.fromkeys(hosts)), usages, authority)

    def service_account_key(self) -> Path:
        """The private key that signs service account tokens. The public key is read from the same file."""
        path = self._directory / "service-account.key"
        if not path.exists():
            write_private(path, _key_bytes(ec.generate_private_key(ec.SECP256R1())))
        return path

    def encryption_config(self) -> Path:
        """The API server's EncryptionConfiguration: Secrets are encrypted with a key of this cloud (secretbox)."""
        path = self._directory / "encryption.json"
        if not path.exists():
            key = base64.b64encode(secrets.token_bytes(32)).decode()
            providers = [{"secretbox": {"keys": [{"name": "key1", "secret": key}]}}, {"identity": {}}]
            config = {
                "apiVersion": "apiserver.config.k8s.io/v1",
                "kind": "EncryptionConfiguration",
                "resources": [{"resources": ["secrets"], "providers": providers}],
            }
            write_private(path, json.dumps(config).encode())
        return path

    def _leaf(
        self,
        file: str,
        common_name: str,
        organizations: tuple[str, ...],
        hosts: tuple[str, ...],
        usages: tuple[x509.ObjectIdentifier, ...],
        authority: str,
    ) -> KeyPair:
        issuer = self.authority(authority)
        issuer_certificate = _load(issuer.certificate)
        pair = self._pair(file)
        subject = _name(common_name, organizations)
        if self._still_good(pair, issuer_certificate, subject, hosts, usages):
            return pair
        key = ec.generate_private_key(ec.SECP256R1())
        issuer_key = serialization.load_pem_private_key(issuer.key_pem(), password=None)
        assert isinstance(issuer_key, ec.EllipticCurvePrivateKey)
        identifier = issuer_certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
        builder = (
            issuing.certificate(
                subject,
                issuer_certificate.subject,
                key.public_key(),
                self._now - _CLOCK_SKEW,
                self._now + _LEAF_LIFE,
            )
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(issuing.key_usage(signs=True, issues=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage(usages), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier), critical=False)
        )
        if hosts:
            builder = builder.add_extension(x509.SubjectAlternativeName(_names(hosts)), critical=False)
        self._store(pair, builder.sign(issuer_key, hashes.SHA256()), key)
        return pair

    def _still_good(
        self,
        pair: KeyPair,
        issuer: x509.Certificate,
        subject: x509.Name,
        hosts: tuple[str, ...],
        usages: tuple[x509.ObjectIdentifier, ...],
    ) -> bool:
        if not (pair.certificate.exists() and pair.key.exists()):
            return False
        try:
            certificate = _load(pair.certificate)
            certificate.verify_directly_issued_by(issuer)
        except (PkiError, ValueError, TypeError, InvalidSignature):
            return False
        return (
            certificate.subject == subject
            and certificate.not_valid_before_utc <= self._now
            and certificate.not_valid_after_utc - self._now > _RENEW_BEFORE
            and _hosts_of(certificate) == set(_names(hosts))
            and _usages_of(certificate) == set(usages)
        )

    def _pair(self, file: str) -> KeyPair:
        return KeyPair(self._directory / f"{file}.crt", self._directory / f"{file}.key")

    def _store(self, pair: KeyPair, certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> None:
        # The key first: until the new certificate is written, the pair counts as invalid and would be created again.
        write_private(pair.key, _key_bytes(key))
        write_private(pair.certificate, certificate.public_bytes(serialization.Encoding.PEM))


def _name(common_name: str, organizations: tuple[str, ...]) -> x509.Name:
    parts = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, each) for each in organizations]
    return x509.Name([*parts, x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _names(hosts: tuple[str, ...]) -> list[x509.GeneralName]:
    return [_general_name(host) for host in hosts]


def _general_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _hosts_of(certificate: x509.Certificate) -> set[x509.GeneralName]:
    try:
        return set(certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value)
    except x509.ExtensionNotFound:
        return set()


def _usages_of(certificate: x509.Certificate) -> set[x509.ObjectIdentifier]:
    try:
        return set(certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value)
    except x509.ExtensionNotFound:
        return set()


def _key_bytes(key: ec.EllipticCurvePrivateKey) -> bytes:
    # SEC 1, which all Kubernetes components and Go's TLS read; PKCS#8 would work as well.
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
    )


def _load(path: Path) -> x509.Certificate:
    try:
        return x509.load_pem_x509_certificate(path.read_bytes())
    except (OSError, ValueError) as error:
        raise PkiError(f"the certificate {path} cannot be read", details=str(error)) from error
