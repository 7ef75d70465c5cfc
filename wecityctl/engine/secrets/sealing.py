"""Has the engine's secrets encrypted by the service of its run, under the stack's own passphrase and salt.

Each start of the engine would derive the key from the passphrase anew, which is most of what a start costs. A run has
derived it once: the engine is told that the service keeps the stack's secrets, and never sees the passphrase. What is
written, journal and state, names the passphrase as the stack's secrets provider, as before and after.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from wecityctl.engine.secrets.crypto import SECRET, SIGNATURE, PassphraseCrypter
from wecityctl.engine.state.checkpoint import Deployment

_PROVIDER = "secrets_providers"
_IN_ENTRY = "secretsProvider"
_SERVICE = "service"


@dataclass(frozen=True, slots=True)
class Seal:
    """A stack's salt, and the crypter that was made of it and the passphrase."""

    salt: str
    crypter: PassphraseCrypter = field(repr=False)

    def shown(self, deployment: Deployment, service: Mapping[str, Any]) -> Deployment:
        """The deployment as the engine is to see it: with secrets of `service`, the state of that secrets provider."""
        if not deployment:
            return deployment
        return {**_with_ciphertexts(deployment, _packed), _PROVIDER: {"type": _SERVICE, "state": dict(service)}}

    def kept(self, entry: Mapping[str, Any]) -> Mapping[str, Any]:
        """A journal entry of that engine as it is written."""
        done: dict[str, Any] = _with_ciphertexts(entry, _unpacked)
        if done.get(_IN_ENTRY):
            done[_IN_ENTRY] = self._provider
        whole = done.get("newSnapshot")
        if whole and whole.get(_PROVIDER):
            done["newSnapshot"] = {**whole, _PROVIDER: self._provider}
        return done

    def encrypt(self, plaintext: str) -> str:
        """A value as the engine hears of it: base64 in, base64 out. Raises `ValueError`."""
        return _packed(self.crypter.encrypt(base64.b64decode(plaintext, validate=True).decode()))

    def decrypt(self, ciphertext: str) -> str:
        """The opposite. Raises `ValueError`, and `WrongPassphraseError` for what another key has encrypted."""
        return base64.b64encode(self.crypter.decrypt(_unpacked(ciphertext)).encode()).decode()

    @property
    def _provider(self) -> dict[str, Any]:
        return {"type": "passphrase", "state": {"salt": self.salt}}


def _packed(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def _unpacked(text: str) -> str:
    return base64.b64decode(text, validate=True).decode()


def _with_ciphertexts(value: Any, change: Callable[[str], str]) -> Any:
    """The value with every ciphertext in it changed."""
    if isinstance(value, Mapping):
        if value.get(SIGNATURE) == SECRET and isinstance(value.get("ciphertext"), str):
            return {**value, "ciphertext": change(value["ciphertext"])}
        return {key: _with_ciphertexts(item, change) for key, item in value.items()}
    return [_with_ciphertexts(item, change) for item in value] if isinstance(value, list) else value
