"""Computes a digest of everything that a stack's run depends on and that is neither in its state nor on its cluster."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from stacks.catalogue import registered
from wecityctl.inputs import StackInputs
from wecityctl.paths import source_dirs

_LIBRARIES = ("pulumi", "pulumi-kubernetes", "wecityctl")
# Excluded from the digest. A renewed kubeconfig changes no resource; the secrets have a stack and a digest of their
# own; interconnects and `builds_on` follow from city, catalogue and placement. A run that holds apps is not noted.
_LEFT_OUT = frozenset(
    {"kubeconfig", "secrets", "context", "kubernetes_version", "interconnects", "builds_on", "held", "last"}
)


def fingerprint(inputs: StackInputs, *, provider: str, program: str, tools: str, secrets_digest: str) -> str:
    """Return the digest of a stack's inputs, including upstream outputs and images, and of the
    tools that process them.
    """
    parts = (inputs, provider, program, tools, secrets_digest if inputs.stack.secrets else "")
    return hashlib.sha256(repr(canonical(parts)).encode()).hexdigest()


def values_of(inputs: StackInputs) -> str:
    """Return the digest of a stack's inputs alone, without the tools."""
    return hashlib.sha256(repr(canonical(inputs)).encode()).hexdigest()


def canonical(value: Any) -> Any:
    """Return `value` as nested tuples that do not depend on the order of mappings."""
    if is_dataclass(value) and not isinstance(value, type):
        return (
            type(value).__name__,
            *(
                (item.name, canonical(getattr(value, item.name)))
                for item in fields(value)
                if item.name not in _LEFT_OUT
            ),
        )
    if isinstance(value, Mapping):
        return tuple(sorted((str(key), canonical(item)) for key, item in value.items()))
    if isinstance(value, (list, tuple)):
        return tuple(canonical(item) for item in value)
    if isinstance(value, (set, frozenset)):
        return tuple(sorted(str(item) for item in value))
    return value


def tools_digest(cli: Path) -> str:
    """Return the digest of our own code, partners' capabilities, the versions of the SDKs, and the engine binary."""
    digest = hashlib.sha256()
    own = source_dirs()
    for directory in own:
        for path in sorted(directory.rglob("*.py")):
            digest.update(str(path.relative_to(directory.parent)).encode() + b"\0")
            digest.update(path.read_bytes())
    for name, item in sorted(registered().items()):
        if item.folder is not None and not any(item.folder.is_relative_to(directory) for directory in own):
            for path in sorted(item.folder.rglob("*.py")):
                digest.update(f"{name}/{path.relative_to(item.folder)}\0".encode())
                digest.update(path.read_bytes())
    for name in _LIBRARIES:
        digest.update(f"{name}={version(name)}\0".encode())
    stat = cli.stat()
    digest.update(f"{cli.parent.parent.name} {stat.st_size}".encode())
    return digest.hexdigest()
