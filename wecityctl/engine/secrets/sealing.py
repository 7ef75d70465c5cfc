"""Encrypts and decrypts the engine's secrets in the run's state service, with the stack's passphrase and salt.

The engine would derive the key from the passphrase at each start, which takes most of the start-up time. The run
derives it once. The engine sees the service as the stack's secrets provider and never gets the passphrase. Journal and
state still name the passphrase as the secrets provider.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from wecityctl.engine.secrets.crypto import SECRET, SIGNATURE, PassphraseCrypter

_PROVIDER = "secrets_providers"
_IN_ENTRY = "secretsProvider"
_SERVICE = "service"
_CONTAINERS = (dict, list)


@dataclass(frozen=True, slots=True)
class Seal:
    """A stack's salt, and the crypter of that salt and the passphrase."""

    salt: str
    crypter: PassphraseCrypter = field(repr=False)

    def shown(self, deployment: dict[str, Any], service: Mapping[str, Any]) -> dict[str, Any]:
        """Return the deployment for the engine: with `service`, a secrets provider's state, in place of the passphrase
        provider.
        """
        if not deployment:
            return deployment
        return {**_with_ciphertexts(deployment, _packed), _PROVIDER: {"type": _SERVICE, "state": dict(service)}}

    def kept(self, entry: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return a journal entry of that engine in the form to store."""
        done: dict[str, Any] = dict(_with_ciphertexts(entry, _unpacked))
        if done.get(_IN_ENTRY):
            done[_IN_ENTRY] = self._provider
        whole = done.get("newSnapshot")
        if whole and whole.get(_PROVIDER):
            done["newSnapshot"] = {**whole, _PROVIDER: self._provider}
        return done

    def encrypt(self, plaintext: str) -> str:
        """Encrypt a base64 value, and return the ciphertext in base64, as the engine expects. Raises `ValueError`."""
        return _packed(self.crypter.encrypt(base64.b64decode(plaintext, validate=True).decode()))

    def decrypt(self, ciphertext: str) -> str:
        """Decrypt a base64 ciphertext, and return the value in base64.

        Raises `ValueError`, and `WrongPassphraseError` if it was encrypted with another key.
        """
        return base64.b64encode(self.crypter.decrypt(_unpacked(ciphertext)).encode()).decode()

    @property
    def _provider(self) -> dict[str, Any]:
        return {"type": "passphrase", "state": {"salt": self.salt}}


def _packed(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def _unpacked(text: str) -> str:
    return base64.b64decode(text, validate=True).decode()


def _with_ciphertexts(value: Any, change: Callable[[str], str]) -> Any:
    """Return the parsed JSON value with `change` applied to every ciphertext in it; parts without any are shared.

    Every journal entry passes through here, and few have a ciphertext, so that copying them all would take longer than
    parsing them.
    """
    kind = type(value)
    if kind is dict:
        if value.get(SIGNATURE) == SECRET and isinstance(value.get("ciphertext"), str):
            return {**value, "ciphertext": change(value["ciphertext"])}
        changed = {}
        for key, item in value.items():
            if type(item) in _CONTAINERS and (done := _with_ciphertexts(item, change)) is not item:
                changed[key] = done
        return {**value, **changed} if changed else value
    if kind is list:
        items = [_with_ciphertexts(item, change) if type(item) in _CONTAINERS else item for item in value]
        is_same = all(done is item for done, item in zip(items, value, strict=True))
        return value if is_same else items
    return value
