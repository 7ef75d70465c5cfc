"""Certificates of the entry points: the city's own authority, what it issues, and when that is due again.

The authority's key is a value of the city's secret store, which no stack is given: it stays in the state, and each
entry point gets a certificate and a key of its own. Values are PEM texts: the key, then certificates.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from wecityctl import issuing
from wecityctl.errors import ConfigurationError
from wecityctl.model import naming
from wecityctl.model.city import City
from wecityctl.model.entries import AUTHORITY_KEY, ISSUED_PREFIX
from wecityctl.plan import Plan

PRIVATE_AUTHORITY = naming.secret_key("city", "entry-authority")

# Browsers take no longer one. Source: CA/Browser Forum, Baseline Requirements 2.0, section 6.3.2.
VALID = timedelta(days=397)
# A certificate is renewed by the first `up` in its last third, so a city that changes twice a year never sees one end.
RENEWED_BEFORE = VALID / 3
AUTHORITY_VALID = timedelta(days=3650)
# The old authority vouches for the new one, so that those who know only the old one have this long to fetch the new.
AUTHORITY_RENEWED_BEFORE = 2 * VALID
# Clocks differ.
_EARLIER = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Pair:
    """A private key and its certificate, then older certificates or the chain above it."""

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


def issued(plan: Plan) -> tuple[str, ...]:
    """The names of the values that the city's authority issues for this plan."""
    return tuple(name for stack in plan.stacks for name in stack.secrets if name.startswith(ISSUED_PREFIX))


def renewed(plan: Plan, have: Mapping[str, str], now: datetime) -> dict[str, str]:
    """The values of the store that are missing or due at `now`: the authority's and the certificates'.

    Empty where everything that the plan needs is good.
    """
    wanted = issued(plan)
    if not wanted:
        return {}
    found: dict[str, str] = {}
    authority = _read(have.get(PRIVATE_AUTHORITY, ""))
    if authority is None or _ends(authority.certificate) - now < AUTHORITY_RENEWED_BEFORE:
        authority = _new_authority(plan.city, authority, now)
        found[PRIVATE_AUTHORITY] = authority.text
    roots = "".join(_pem(item) for item in authority.certificates if _is_root(item) and _ends(item) > now)
    if have.get(AUTHORITY_KEY) != roots:
        found[AUTHORITY_KEY] = roots
    names = server_names(plan.city)
    for name in wanted:
        if name == AUTHORITY_KEY:
            continue
        pair = _read(have.get(name, ""))
        if pair is None or not _is_good(pair.certificate, authority, names, now):
            found[name] = _issue(authority, names, now).text
    return found


def server_names(city: City) -> tuple[str, ...]:
    """What a certificate is for: the city's domain, everything one label below it, and hosts further below.

    A `*` stands for one label (RFC 9525, section 6.3).
    """
    hosts = {app.route.host for app in city.apps if app.route is not None and app.is_routed and "." in app.route.host}
    return (city.domain, f"*.{city.domain}", *sorted(naming.entry_host(host, city.domain) for host in hosts))


def require_readable(plan: Plan, have: Mapping[str, str], now: datetime) -> None:
    """Check the certificates that people have given to the entry points.

    Raises `ConfigurationError` for one that nginx could not load or that has ended.
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
    """A pair of ours; `None` for nothing, or for what cannot be read and is made anew."""
    try:
        certificates, key = _loaded(text)
    except (ValueError, TypeError):
        return None
    return Pair(key, certificates) if isinstance(key, ec.EllipticCurvePrivateKey) else None


def _loaded(text: str) -> tuple[tuple[x509.Certificate, ...], PrivateKeyTypes]:
    """The certificates and the private key in a PEM text. Raises `ValueError` or `TypeError`."""
    data = text.encode()
    return tuple(x509.load_pem_x509_certificates(data)), serialization.load_pem_private_key(data, None)


def _is_good(certificate: x509.Certificate, authority: Pair, names: tuple[str, ...], now: datetime) -> bool:
    if _ends(certificate) - now < RENEWED_BEFORE:
        return False
    try:
        certificate.verify_directly_issued_by(authority.certificate)
    except (ValueError, TypeError, InvalidSignature):
        return False
    found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return set(names) <= set(found.get_values_for_type(x509.DNSName))


def _new_authority(city: City, old: Pair | None, now: datetime) -> Pair:
    """A new authority; where there is an old one that still holds, with a certificate from it."""
    key = ec.generate_private_key(ec.SECP256R1())
    # The year tells two authorities apart that are handed out together.
    name = _name(f"{city.name} entry point CA {now:%Y}")
    builder = _authority(city, name, name, key.public_key(), now, now - _EARLIER + AUTHORITY_VALID)
    certificates = [builder.sign(key, hashes.SHA256())]
    if old is not None and _ends(old.certificate) > now:
        issuer, until = old.certificate.subject, _ends(old.certificate)
        builder = _authority(city, name, issuer, key.public_key(), now, until)
        certificates += [builder.sign(old.key, hashes.SHA256()), *filter(_is_root, old.certificates)]
    return Pair(key, tuple(certificates))


def _authority(
    city: City, subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, now: datetime, until: datetime
) -> x509.CertificateBuilder:
    """A certificate for an authority that may issue names of the city's domain and no other."""
    return (
        _builder(subject, issuer, key, now, until)
        .add_extension(x509.BasicConstraints(ca=True, path_length=1), critical=True)
        .add_extension(issuing.key_usage(signs=False, issues=True), critical=True)
        .add_extension(x509.NameConstraints([x509.DNSName(city.domain)], None), critical=True)
    )


def _is_root(certificate: x509.Certificate) -> bool:
    return certificate.issuer == certificate.subject


def _issue(authority: Pair, names: tuple[str, ...], now: datetime) -> Pair:
    key = ec.generate_private_key(ec.SECP256R1())
    issuer = authority.certificate
    found = issuer.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    certificate = (
        # The domain may be longer than a common name: what counts are the alternative names, critical where it is none.
        _builder(x509.Name([]), issuer.subject, key.public_key(), now, now - _EARLIER + VALID)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(issuing.key_usage(signs=True, issues=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name) for name in names]), critical=True)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(found), critical=False)
        .sign(authority.key, hashes.SHA256())
    )
    vouched = [item for item in authority.certificates if item.subject == issuer.subject and not _is_root(item)]
    return Pair(key, (certificate, *vouched))


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
