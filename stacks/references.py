"""Loads the objects that capability types name as `module:attribute`, partners' ones among them."""

from __future__ import annotations

import sys
from contextlib import redirect_stdout
from importlib import import_module
from typing import Any

from wecityctl.errors import ConfigurationError


def load(reference: str, capability: str) -> Any:
    """Import what the type `capability` names as `module:attribute`.

    What the module prints goes to stderr. Raises `ConfigurationError` with the cause, also for a module that exits.
    """
    module, _, attribute = reference.partition(":")
    try:
        with redirect_stdout(sys.stderr):
            return getattr(import_module(module), attribute)
    except (Exception, SystemExit) as error:
        raise ConfigurationError(
            f"{reference} of the capability type {capability!r} cannot be loaded: {type(error).__name__}: {error}",
            resolution="mend or remove the package that brings it",
        ) from error
