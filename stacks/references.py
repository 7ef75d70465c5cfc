"""Loads the objects that capability types name as `module:attribute`, partners' ones among them."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from importlib import import_module
from threading import RLock
from typing import Any

from wecityctl.errors import ConfigurationError

# `sys.stdout` belongs to all threads: two that redirect it at the same time may leave it redirected for ever.
_REDIRECTED = RLock()


@contextmanager
def printing_to_stderr() -> Iterator[None]:
    """Send to stderr what modules print while they are imported: it is no result of a command."""
    with _REDIRECTED, redirect_stdout(sys.stderr):
        yield


def load(reference: str, capability: str) -> Any:
    """Import what the type `capability` names as `module:attribute`.

    What the module prints goes to stderr. Raises `ConfigurationError` with the cause, also for a module that exits.
    """
    module, _, attribute = reference.partition(":")
    try:
        with printing_to_stderr():
            return getattr(import_module(module), attribute)
    except (Exception, SystemExit) as error:
        raise ConfigurationError(
            f"{reference} of the capability type {capability!r} cannot be loaded: {type(error).__name__}: {error}",
            resolution="mend or remove the package that brings it",
        ) from error
