"""Writes the certificates of public CAs in the forms that programs expect: one PEM file and one Java key store.

Debian's `ca-certificates` and `ca-certificates-java` create both during installation, which does not happen here. They
are written from the files of `ca-certificates`, sorted and with a fixed timestamp.
"""

from __future__ import annotations

import base64
import hashlib
import re
import struct
from pathlib import PurePosixPath

from wecityctl.oci.recipe import Certificates
from wecityctl.oci.tree import EPOCH, ImageBuildError, Tree, regular

SOURCES = "usr/share/ca-certificates/"
# Java's own password for its store of public certificates, which protects nothing: it is in every Java.
PASSWORD = "changeit"  # noqa: S105
_MAGIC, _VERSION, _TRUSTED = 0xFEEDFEED, 2, 2
_PEM = re.compile(rb"-----BEGIN CERTIFICATE-----\s*([A-Za-z0-9+/=\s]+?)-----END CERTIFICATE-----\s*")


def add(tree: Tree, wanted: Certificates) -> None:
    """Add the stores that the recipe requests. Raises `ImageBuildError` if there are no certificates."""
    found: dict[str, bytes] = {}
    for path, entry in tree.items():
        if path.startswith(SOURCES) and path.endswith(".crt") and entry.is_file:
            for number, block in enumerate(_PEM.findall(entry.read())):
                alias = f"debian:{PurePosixPath(path).stem.lower()}{f'-{number}' if number else ''}"
                found[alias] = base64.b64decode(block)
    if not found:
        raise ImageBuildError("there are no certificates", resolution="add Debian's package ca-certificates")
    if wanted.pem:
        tree.add(wanted.pem, regular("".join(_pem(content) for _, content in sorted(found.items())).encode()))
    if wanted.java:
        tree.add(wanted.java, regular(key_store(found)))


def key_store(certificates: dict[str, bytes]) -> bytes:
    """A Java key store (JKS, version 2) of trusted certificates. `certificates` maps an alias to DER.

    Source of the format: the comment on `engineStore` in OpenJDK's sun.security.provider.JavaKeyStore.
    """
    content = struct.pack(">III", _MAGIC, _VERSION, len(certificates))
    for alias, certificate in sorted(certificates.items()):
        content += struct.pack(">I", _TRUSTED) + _text(alias) + struct.pack(">Q", EPOCH * 1000) + _text("X.509")
        content += struct.pack(">I", len(certificate)) + certificate
    salted = PASSWORD.encode("utf-16-be") + b"Mighty Aphrodite" + content
    return content + hashlib.sha1(salted, usedforsecurity=False).digest()


def _text(value: str) -> bytes:
    encoded = value.encode()
    return struct.pack(">H", len(encoded)) + encoded


def _pem(content: bytes) -> str:
    text = base64.b64encode(content).decode()
    lines = "\n".join(text[start : start + 64] for start in range(0, len(text), 64))
    return f"-----BEGIN CERTIFICATE-----\n{lines}\n-----END CERTIFICATE-----\n"
