"""What the state service does with secrets in journal entries."""

from __future__ import annotations

import base64
from typing import Any

from wecityctl.engine.secrets.crypto import SECRET, SIGNATURE, new_salt
from wecityctl.engine.secrets.sealing import Seal


def entry(**outputs: Any) -> dict[str, Any]:
    return {"version": 1, "kind": 1, "state": {"inputs": {"list": [{"a": 1}]}, "outputs": outputs}}


def seal() -> Seal:
    return Seal(*new_salt("a passphrase"))


def test_an_entry_without_secrets_is_not_copied() -> None:
    given = entry(metadata={"labels": {"a": "b"}})
    kept = seal().kept(given)
    assert kept == given
    assert kept["state"] is given["state"]


def test_ciphertexts_are_kept_in_the_passphrase_format_and_the_entry_given_stays() -> None:
    one = seal()
    packed = one.encrypt(base64.b64encode(b'"hush"').decode())
    secret = {SIGNATURE: SECRET, "ciphertext": packed}
    given = entry(data=secret, list=[1, {"deep": [secret]}], plain={"a": "b"})
    kept = one.kept(given)
    outputs = kept["state"]["outputs"]
    stored = outputs["data"]["ciphertext"]
    assert one.crypter.decrypt(stored) == '"hush"'
    assert outputs["list"] == [1, {"deep": [{SIGNATURE: SECRET, "ciphertext": stored}]}]
    assert outputs["plain"] is given["state"]["outputs"]["plain"]
    assert given["state"]["outputs"]["data"]["ciphertext"] == packed
