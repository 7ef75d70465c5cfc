"""The city's own certificate authorities: issues certificates for entry points, shared capabilities and apps, and
renews them.

There are two authorities, one for the city's domain and one for the names of Services, so that clients which trust the
city's web pages do not thereby trust its databases. The authorities' keys are in the city's secret store and are passed
to no stack; each server gets its own key and certificate. Values are PEM texts: the key, then certificates.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from wecityctl import issuing
from wecityctl.engine.secrets.certificate_names import Names, issued, wanted_names
from wecityctl.errors import ConfigurationError
from wecityctl.model import naming
from wecityctl.model.city import City
from wecityctl.model.entries import AUTHORITY_KEY, ISSUED_PREFIX
from wecityctl.model.service_tls import SERVICE_AUTHORITY_KEY, SERVICE_PREFIX
from wecityctl.plan import Plan

PRIVATE_AUTHORITY = naming.secret_key("city", "entry-authority")
PRIVATE_SERVICE_AUTHORITY = naming.secret_key("city", "service-authority")

# Browsers take no longer one. Source: CA/Browser Forum, Baseline Requirements 2.0, section 6.3.2.
VALID = timedelta(days=397)
# The first `up` in the last third of the validity renews a certificate, so two runs a year suffice.
RENEWED_BEFORE = VALID / 3
AUTHORITY_VALID = timedelta(days=3650)
# The old authority signs the new one, so clients that know only the old one have this long to install the new one.
AUTHORITY_RENEWED_BEFORE = 2 * VALID
# Allows for clocks that differ.
_EARLIER = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Pair:
    """A private key and its certificate, followed by older certificates or its chain."""

    key: ec.EllipticCurvePrivateKey
    certificates: tuple[x509.Certificate, ...]

    @property
    def certificate(self) -> x509.Certificate:
        return self.certificates[0]

    @property
    def text(self) -> str:
        key = self.key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        return key.decode() + "".join(map(_pem, self.certificates))


@dataclass(frozen=True, slots=True)
class Authority:
    """One of the city's own authorities.

    `key` and `roots` are the keys of its private key and its certificates in the secret store; `prefix` starts the keys
    of the certificates that it issues. It may issue names only in the domains that `permitted` returns for a city.
    """

    title: str
    key: str
    roots: str
    prefix: str
    permitted: Callable[[City], tuple[str, ...]]


AUTHORITIES = (
    Authority("entry point", PRIVATE_AUTHORITY, AUTHORITY_KEY, ISSUED_PREFIX, lambda city: (city.domain,)),
    Authority(
        "service",
        PRIVATE_SERVICE_AUTHORITY,
        SERVICE_AUTHORITY_KEY,
        SERVICE_PREFIX,
        lambda _: ("svc.cluster.local", "svc"),
    ),
)


def renewed(
    plan: Plan, have: Mapping[str, str], now: datetime, addresses: Mapping[str, str] | None = None
) -> dict[str, str]:
    """Return new values for authorities and certificates that are missing or due at `now`, by their key in the store.

    `addresses` are those at which other clouds reach capabilities and apps, by name or `tenant/app`. Empty if nothing
    is due.
    """
    needed, names = issued(plan), wanted_names(plan, addresses or {})
    found: dict[str, str] = {}
    for authority in AUTHORITIES:
        if any(key.startswith(authority.prefix) for key in needed):
            own = {key: value for key, value in names.items() if key.startswith(authority.prefix)}
            found |= _renewed(authority, plan.city, own, have, now)
    return found


def _renewed(
    authority: Authority, city: City, wanted: Mapping[str, Names], have: Mapping[str, str], now: datetime
) -> dict[str, str]:
    found: dict[str, str] = {}
    issuer = _read(have.get(authority.key, ""))
    if issuer is None or _ends(issuer.certificate) - now < AUTHORITY_RENEWED_BEFORE:
        issuer = _new_authority(authority, city, issuer, now)
        found[authority.key] = issuer.text
    roots = "".join(_pem(item) for item in issuer.certificates if _is_root(item) and _ends(item) > now)
    if have.get(authority.roots) != roots:
        found[authority.roots] = roots
    for key, names in wanted.items():
        pair = _read(have.get(key, ""))
        if pair is None or not _is_good(pair.certificate, issuer, names, now):
            found[key] = _issue(issuer, names, now).text
    return found


def require_readable(plan: Plan, have: Mapping[str, str], now: datetime) -> None:
    """Check the certificates that users supplied for the entry points.

    Raises `ConfigurationError` for one that nginx could not load or that has expired.
    """
    stacks = [stack for stack in plan.stacks if stack.layer == "entry"]
    for name in {
        name for stack in stacks for name in stack.secrets if not name.startswith(ISSUED_PREFIX) and name in have
    }:
        fault = _fault(have[name], now)
        if fault:
            raise ConfigurationError(
                f"secret {name.removeprefix('tenant/')} is no certificate for an entry point: {fault}",
                resolution="set it to the certificate, its chain and its private key without a passphrase, all in PEM",
            )


def _fault(text: str, now: datetime) -> str:
    try:
        certificates, key = _loaded(text)
    except (ValueError, TypeError) as error:
        return str(error) or "it cannot be read"
    if key.public_key() != certificates[0].public_key():
        return "the key is not that of the first certificate"
    return f"it ended on {_ends(certificates[0]):%Y-%m-%d}" if _ends(certificates[0]) <= now else ""


def _read(text: str) -> Pair | None:
    """Parse a key pair of ours; `None` if the text is empty or unreadable, in which case it is issued again."""
    try:
        certificates, key = _loaded(text)
    except (ValueError, TypeError):
        return None
    return Pair(key, certificates) if isinstance(key, ec.EllipticCurvePrivateKey) else None


def _loaded(text: str) -> tuple[tuple[x509.Certificate, ...], PrivateKeyTypes]:
    """Return the certificates and the private key in a PEM text. Raises `ValueError` or `TypeError`."""
    data = text.encode()
    return tuple(x509.load_pem_x509_certificates(data)), serialization.load_pem_private_key(data, None)


def _is_good(certificate: x509.Certificate, authority: Pair, names: Names, now: datetime) -> bool:
    if _ends(certificate) - now < RENEWED_BEFORE:
        return False
    try:
        certificate.verify_directly_issued_by(authority.certificate)
    except (ValueError, TypeError, InvalidSignature):
        return False
    found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    hosts, addresses = found.get_values_for_type(x509.DNSName), found.get_values_for_type(x509.IPAddress)
    return set(names.hosts) <= set(hosts) and set(names.addresses) <= set(map(str, addresses))


def _new_authority(authority: Authority, city: City, old: Pair | None, now: datetime) -> Pair:
    """Create an authority. If the old one is still valid, the result includes a certificate signed by it."""
    key = ec.generate_private_key(ec.SECP256R1())
    # The year distinguishes two authorities that are in use at the same time.
    name = _name(f"{city.name} {authority.title} CA {now:%Y}")
    permitted = authority.permitted(city)
    builder = _authority(permitted, name, name, key.public_key(), now, now - _EARLIER + AUTHORITY_VALID)
    certificates = [builder.sign(key, hashes.SHA256())]
    if old is not None and _ends(old.certificate) > now:
        issuer, until = old.certificate.subject, _ends(old.certificate)
        builder = _authority(permitted, name, issuer, key.public_key(), now, until)
        certificates += [builder.sign(old.key, hashes.SHA256()), *filter(_is_root, old.certificates)]
    return Pair(key, tuple(certificates))


def _authority(
    permitted: tuple[str, ...],
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePublicKey,
    now: datetime,
    until: datetime,
) -> x509.CertificateBuilder:
    """Return the certificate builder of an authority that may issue names only in the `permitted` domains."""
    return (
        _builder(subject, issuer, key, now, until)
        .add_extension(x509.BasicConstraints(ca=True, path_length=1), critical=True)
        .add_extension(issuing.key_usage(signs=False, issues=True), critical=True)
        .add_extension(x509.NameConstraints([x509.DNSName(name) for name in permitted], None), critical=True)
    )


def _is_root(certificate: x509.Certificate) -> bool:
    return certificate.issuer == certificate.subject


def _issue(authority: Pair, names: Names, now: datetime) -> Pair:
    key = ec.generate_private_key(ec.SECP256R1())
    issuer = authority.certificate
    found = issuer.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    certificate = (
        # The domain may exceed the length of a common name. The subject is therefore empty, which makes the alternative
        # names critical.
        _builder(x509.Name([]), issuer.subject, key.public_key(), now, now - _EARLIER + VALID)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(issuing.key_usage(signs=True, issues=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(_alternatives(names), critical=True)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(found), critical=False)
        .sign(authority.key, hashes.SHA256())
    )
    vouched = [item for item in authority.certificates if item.subject == issuer.subject and not _is_root(item)]
    return Pair(key, (certificate, *vouched))


def _alternatives(names: Names) -> x509.SubjectAlternativeName:
    addresses = (x509.IPAddress(ipaddress.ip_address(address)) for address in names.addresses)
    return x509.SubjectAlternativeName([*map(x509.DNSName, names.hosts), *addresses])


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, now: datetime, until: datetime
) -> x509.CertificateBuilder:
    builder = issuing.certificate(subject, issuer, key, now - _EARLIER, until)
    return builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text[:64])])


def _ends(certificate: x509.Certificate) -> datetime:
    return certificate.not_valid_after_utc.astimezone(UTC)


def _pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(serialization.Encoding.PEM).decode()
