"""Pulumi's passphrase secrets provider in Python: derives the key and encrypts values as `v1:<nonce>:<ciphertext>`.

Format: pulumi/pkg secrets/passphrase and sdk config/crypt.go (PBKDF2-SHA256, 1,000,000 rounds; AES-256-GCM).
"""

from __future__ import annotations

import base64
import json
import os
from typing import Any

from wecityctl.errors import AuthenticationError

ROUNDS = 1_000_000
_NONCE = 12
_CHECK = "pulumi"
SIGNATURE = "4dabf18193072939515e22adb298388d"
SECRET = "1b47061264138c4ac30d75fd1eb44270"  # noqa: S105


class WrongPassphraseError(AuthenticationError):
    """The passphrase does not decrypt the state."""


def derive(secret: bytes, salt: bytes) -> bytes:
    """Return the key of a passphrase and a salt, 32 bytes."""
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.kdf.pbkdf2 import PBKDF2HMAC

    # The OpenSSL of `cryptography` is newer than that of many Python builds and takes half the time.
    return PBKDF2HMAC(SHA256(), 32, salt, ROUNDS).derive(secret)


class PassphraseCrypter:
    """Encrypts and decrypts values with the key of one passphrase and salt. Deriving the key takes about 0.1 s on
    purpose.
    """

    def __init__(self, passphrase: str, salt: bytes) -> None:
        # Undecodable bytes of the environment are kept unchanged, as in the engine.
        self._use(derive(passphrase.encode(errors="surrogateescape"), salt))

    def _use(self, key: bytes) -> None:
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        self._key, self._aead = key, AESGCM(key)

    def __getstate__(self) -> bytes:
        """Return the key, for another process of the same run."""
        return self._key

    def __setstate__(self, key: bytes) -> None:
        self._use(key)

    def encrypt(self, text: str) -> str:
        """Return `text` in the encrypted form of a state."""
        nonce = os.urandom(_NONCE)
        return f"v1:{_encode(nonce)}:{_encode(self._aead.encrypt(nonce, text.encode(), None))}"

    def decrypt(self, value: str) -> str:
        """Return the text of an encrypted value. Raises `WrongPassphraseError`, and `ValueError` for an unknown
        version.
        """
        from cryptography.exceptions import InvalidTag

        version, nonce, cipher = value.split(":")
        if version != "v1":
            raise ValueError(f"unknown version {version!r} of an encrypted value")
        try:
            return self._aead.decrypt(base64.b64decode(nonce), base64.b64decode(cipher), None).decode()
        except InvalidTag as error:
            raise WrongPassphraseError(
                "the passphrase does not open the city's state",
                resolution="set PULUMI_CONFIG_PASSPHRASE or PULUMI_CONFIG_PASSPHRASE_FILE to the one it was made with",
            ) from error

    def seal(self, data: bytes, about: bytes) -> bytes:
        """Return `data` encrypted; it opens only with the same `about`, which is not in it."""
        nonce = os.urandom(_NONCE)
        return nonce + self._aead.encrypt(nonce, data, about)

    def unseal(self, sealed: bytes, about: bytes) -> bytes:
        """Return what `seal` has encrypted. Raises `ValueError` for data that is damaged or of another `about`."""
        from cryptography.exceptions import InvalidTag

        try:
            return self._aead.decrypt(sealed[:_NONCE], sealed[_NONCE:], about)
        except InvalidTag as error:
            raise ValueError("it is damaged, or is not what its name says") from error

    def reveal(self, value: Any) -> Any:
        """Return a property value of a state with all its secrets decrypted."""
        if isinstance(value, dict):
            if value.get(SIGNATURE) == SECRET:
                if "plaintext" in value:
                    return json.loads(value["plaintext"])
                return json.loads(self.decrypt(value["ciphertext"]))
            return {key: self.reveal(item) for key, item in value.items()}
        if isinstance(value, list):
            return [self.reveal(item) for item in value]
        return value


def new_salt(passphrase: str) -> tuple[str, PassphraseCrypter]:
    """Return a new salt with its check value, in the format of `encryptionsalt`, and its crypter."""
    salt = os.urandom(8)
    crypter = PassphraseCrypter(passphrase, salt)
    return f"v1:{_encode(salt)}:{crypter.encrypt(_CHECK)}", crypter


def open_salt(passphrase: str, state: str) -> PassphraseCrypter:
    """Return the crypter for a salt from a state. Raises `WrongPassphraseError`."""
    version, salt, check = state.split(":", 2)
    if version != "v1":
        raise ValueError(f"unknown version {version!r} of an encryption salt")
    crypter = PassphraseCrypter(passphrase, base64.b64decode(salt))
    crypter.decrypt(check)
    return crypter


def has_secrets(value: Any) -> bool:
    """Whether a property value of a state contains a secret."""
    pending = [value]
    while pending:
        item = pending.pop()
        if isinstance(item, dict):
            if item.get(SIGNATURE) == SECRET:
                return True
            pending.extend(item.values())
        elif isinstance(item, list):
            pending.extend(item)
    return False


def _encode(data: bytes) -> str:
    return base64.b64encode(data).decode()
