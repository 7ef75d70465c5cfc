"""Object storage for states: one interface over directories, S3 and PostgreSQL.

Each kind is a module here with `SCHEMES` and `open_url(url, limits)`; a new module is found automatically. The engine
packages define the meaning of the objects (stacks, locks, history).
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator
from types import ModuleType

from wecityctl.errors import ConfigurationError
from wecityctl.objects.model import Entry, Limits, Objects

__all__ = ["Entry", "Limits", "Objects", "open_objects", "schemes"]


def open_objects(url: str, limits: Limits | None = None) -> Objects:
    """Open the place at `url`, such as `file:///srv/state`, `s3://bucket/prefix` or `postgres://host/db`.

    The URL is the one that Pulumi accepts for the same place. Servers are contacted to check that the place exists.
    Raises `ConfigurationError` for an unusable URL, `AuthenticationError` for rejected credentials and
    `DeploymentError` if the server cannot be reached.
    """
    wanted, separator, _ = url.partition("://")
    # Modules are imported only until one has the scheme, so that a local directory imports no event loop.
    module = next((module for scheme, module in _modules() if separator and scheme == wanted), None)
    if module is None:
        # The URL is not shown, because it may contain a password.
        raise ConfigurationError(
            "the URL of the state begins with no scheme that is supported",
            details=f"supported: {', '.join(f'{scheme}://' for scheme in schemes())}",
            resolution="write a URL that begins with one of these",
        )
    opened: Objects = module.open_url(url, limits or Limits())
    return opened


def schemes() -> tuple[str, ...]:
    """Return the URL schemes that `open_objects` accepts, sorted."""
    return tuple(sorted(scheme for scheme, _ in _modules()))


def _modules() -> Iterator[tuple[str, ModuleType]]:
    """Yield every scheme with its module. The modules import their libraries only on use."""
    for found in pkgutil.iter_modules(__path__):
        module = importlib.import_module(f"{__name__}.{found.name}")
        for scheme in getattr(module, "SCHEMES", ()):
            yield scheme, module
