"""Keys of tests' passphrases, each derived once in a test run.

Deriving one takes a tenth of a second of CPU time on purpose, and hundreds of commands follow one another on the same
city. Processes that are forked for tests share what any of them has derived; programs that are started anew do not.
"""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from hashlib import sha256
from pathlib import Path

from wecityctl.engine.secrets import crypto

_PLACE = "WECITY_TEST_KEYS"
_DERIVE = crypto.derive


def share() -> None:
    """Have this process, and those that it starts and that share too, derive each key once."""
    if _PLACE not in os.environ:
        os.environ[_PLACE] = place = tempfile.mkdtemp(prefix="wecity-keys-")
        atexit.register(_remove, place, os.getpid())
    place = Path(os.environ[_PLACE])

    def derive(secret: bytes, salt: bytes) -> bytes:
        kept = place / sha256(salt + secret).hexdigest()
        try:
            return kept.read_bytes()
        except OSError:
            key = _DERIVE(secret, salt)
        if place.is_dir():
            written = place / f"{kept.name}.{os.getpid()}"
            written.write_bytes(key)
            written.replace(kept)
        return key

    crypto.derive = derive


def _remove(place: str, owner: int) -> None:
    if os.getpid() == owner:
        shutil.rmtree(place, ignore_errors=True)
