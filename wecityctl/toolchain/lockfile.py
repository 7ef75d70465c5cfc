"""Reads `lock.json`, the SHA-256 digests of the files that may be downloaded.

Format: {"schema": 1, "downloads": {part: {version: {platform: {file: sha256}}}}}. A file without a recorded digest is
never downloaded.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path

from wecityctl.errors import ConfigurationError
from wecityctl.toolchain.model import Part, Platform

FILE = "lock.json"
SCHEMA = 1
SHA256 = re.compile(r"[0-9a-f]{64}")


def digests(toolchain: Path, part: Part, target: Platform) -> Mapping[str, str]:
    """The recorded SHA-256 digests of a part's files for `target`, by file name; empty if none are recorded."""
    path = toolchain / FILE
    try:
        data = json.loads(path.read_bytes())
        if data["schema"] != SCHEMA:
            raise ValueError(f"its schema is {data['schema']}, not {SCHEMA}")
        recorded = data["downloads"].get(part.name, {}).get(part.version, {}).get(str(target), {})
        found = {str(name): str(value) for name, value in recorded.items()}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, KeyError, AttributeError) as error:
        raise ConfigurationError(f"{path} cannot be understood: {error}") from error
    for name, value in found.items():
        if not SHA256.fullmatch(value):
            raise ConfigurationError(f"{path}: the digest of {name} is not a SHA-256 in lower-case hexadecimal")
    return found
