"""Building blocks for X.509 certificates, shared by the authorities of embedded clouds and of cities."""

from __future__ import annotations

from datetime import datetime

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec


def certificate(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, begins: datetime, ends: datetime
) -> x509.CertificateBuilder:
    """Return a builder for a certificate of `key`, valid from `begins` to `ends`. The caller adds extensions and signs
    it.
    """
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(begins)
        .not_valid_after(ends)
    )


def key_usage(*, signs: bool, issues: bool) -> x509.KeyUsage:
    """Return the key usage extension: `signs` allows signatures, as in a TLS handshake; `issues` allows signing
    certificates and revocation lists.
    """
    return x509.KeyUsage(
        digital_signature=signs,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=issues,
        crl_sign=issues,
        encipher_only=False,
        decipher_only=False,
    )
