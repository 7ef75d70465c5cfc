"""Certificates: what they say, who may read them, when they are made again, and that TLS accepts them."""

from __future__ import annotations

import datetime
import json
import socket
import ssl
import threading
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from wecityctl.local.pki import FRONT_PROXY_CA, Pki, PkiError

NOW = datetime.datetime(2026, 6, 1, 12, tzinfo=datetime.UTC)


def _certificate(path: Path) -> x509.Certificate:
    return x509.load_pem_x509_certificate(path.read_bytes())


def test_every_file_is_for_its_owner_alone(tmp_path: Path) -> None:
    pki = Pki(tmp_path / "pki", "lab")
    pki.server("api", "kube-apiserver", ["127.0.0.1", "localhost"])
    pki.client("admin", "admin", ["system:masters"])
    pki.service_account_key()
    pki.encryption_config()
    assert (tmp_path / "pki").stat().st_mode & 0o777 == 0o700
    files = list((tmp_path / "pki").iterdir())
    assert len(files) == 8
    assert {path.stat().st_mode & 0o777 for path in files} == {0o600}


def test_client_certificate_names_user_and_groups(tmp_path: Path) -> None:
    pair = Pki(tmp_path, "lab", now=NOW).client("node", "system:node:n1", ["system:nodes", "other"])
    certificate = _certificate(pair.certificate)
    assert [each.value for each in certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)] == [
        "system:node:n1"
    ]
    groups = certificate.subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)
    assert [each.value for each in groups] == ["system:nodes", "other"]
    usage = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(usage) == [ExtendedKeyUsageOID.CLIENT_AUTH]
    assert certificate.not_valid_before_utc < NOW
    assert certificate.not_valid_after_utc > NOW + datetime.timedelta(days=300)


def test_what_is_good_is_kept(tmp_path: Path) -> None:
    first = Pki(tmp_path, "lab", now=NOW)
    before = {path: path.read_bytes() for path in _make_all(first)}
    again = Pki(tmp_path, "lab", now=NOW + datetime.timedelta(days=100))
    assert {path: path.read_bytes() for path in _make_all(again)} == before


def _make_all(pki: Pki) -> list[Path]:
    server, client = pki.server("s", "s", ["127.0.0.1", "s.example"]), pki.client("c", "c", ["g"])
    files = [pki.service_account_key(), pki.encryption_config(), pki.authority().certificate]
    return [*files, server.certificate, server.key, client.certificate, client.key]


def test_a_certificate_near_its_end_is_made_again_under_the_same_authority(tmp_path: Path) -> None:
    pki = Pki(tmp_path, "lab", now=NOW)
    old = pki.client("c", "c").certificate_pem()
    later = Pki(tmp_path, "lab", now=NOW + datetime.timedelta(days=250))
    pair = later.client("c", "c")
    assert pair.certificate_pem() != old
    _certificate(pair.certificate).verify_directly_issued_by(_certificate(pki.authority().certificate))


@pytest.mark.parametrize("change", ["hosts", "organization", "authority", "garbage", "no key"])
def test_a_certificate_that_no_longer_fits_is_made_again(tmp_path: Path, change: str) -> None:
    pki = Pki(tmp_path, "lab", now=NOW)
    pair = pki.server("s", "s", ["127.0.0.1"])
    old = pair.certificate_pem()
    hosts, organizations, authority = ["127.0.0.1"], ["g"] if change == "organization" else [], "ca"
    if change == "hosts":
        hosts = ["127.0.0.1", "10.0.0.1"]
    elif change == "authority":
        authority = FRONT_PROXY_CA
    elif change == "garbage":
        pair.certificate.write_bytes(b"-----BEGIN CERTIFICATE-----\ncut short")
    elif change == "no key":
        pair.key.unlink()
    new = pki.server("s", "s", hosts, organizations=organizations, authority=authority)
    assert new.certificate_pem() != old
    issuer = _certificate(pki.authority(authority).certificate)
    _certificate(new.certificate).verify_directly_issued_by(issuer)


def test_an_authority_at_its_end_is_an_error_that_says_what_to_do(tmp_path: Path) -> None:
    Pki(tmp_path, "lab", now=NOW).authority()
    with pytest.raises(PkiError) as caught:
        Pki(tmp_path, "lab", now=NOW + datetime.timedelta(days=3651)).client("c", "c")
    assert "local reset --name lab" in caught.value.resolution


def test_a_leaf_cannot_sign(tmp_path: Path) -> None:
    certificate = _certificate(Pki(tmp_path, "lab").client("c", "c").certificate)
    assert not certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    assert not certificate.extensions.get_extension_for_class(x509.KeyUsage).value.key_cert_sign


def test_secrets_are_sealed_first_and_readable_from_before(tmp_path: Path) -> None:
    config = json.loads(Pki(tmp_path, "lab").encryption_config().read_text())
    (rule,) = config["resources"]
    assert rule["resources"] == ["secrets"]
    assert [next(iter(provider)) for provider in rule["providers"]] == ["secretbox", "identity"]


def test_mutual_tls(tmp_path: Path) -> None:
    pki = Pki(tmp_path, "lab")
    server, client = pki.server("s", "s", ["127.0.0.1"]), pki.client("c", "the user")
    stranger = Pki(tmp_path / "other", "other").client("c", "the user")
    assert _handshake(pki, server, client) == "the user"
    with pytest.raises(OSError):
        _handshake(pki, server, stranger)


def _handshake(pki: Pki, server: object, client: object) -> str:
    ca = str(pki.authority().certificate)
    accept = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=ca)
    accept.verify_mode = ssl.CERT_REQUIRED
    accept.load_cert_chain(server.certificate, server.key)  # type: ignore[attr-defined]
    dial = ssl.create_default_context(cafile=ca)
    dial.load_cert_chain(client.certificate, client.key)  # type: ignore[attr-defined]
    seen: list[str] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            try:
                connection, _ = listener.accept()
                with accept.wrap_socket(connection, server_side=True) as secure:
                    subject = dict(pair[0] for pair in secure.getpeercert()["subject"])  # type: ignore[index,misc]
                    seen.append(subject["commonName"])
                    secure.sendall(b"hello")
            except OSError:
                return

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        try:
            with (
                socket.create_connection(listener.getsockname(), timeout=5) as plain,
                dial.wrap_socket(plain, server_hostname="127.0.0.1") as secure,
            ):
                if secure.recv(5) != b"hello":
                    raise OSError("refused")
        finally:
            thread.join(5)
    return seen[0]
