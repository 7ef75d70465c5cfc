"""Places for the objects of a state: one interface over directories, S3 and PostgreSQL.

Each place is a module here with `SCHEMES` and `open_url(url, limits)`; a new module adds its schemes by being there.
What the objects mean (stacks, locks, history) is the engine's business.
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
    """Open the place that `url` names, such as `file:///srv/state`, `s3://bucket/prefix` or `postgres://host/db`.

    The URL is what Pulumi takes for the same place. Servers are asked whether the place exists. Raises
    `ConfigurationError` for a URL that cannot be used, `AuthenticationError` for refused credentials and
    `DeploymentError` where the server cannot be reached.
    """
    wanted, separator, _ = url.partition("://")
    # Modules are loaded until one has the scheme, so that a local directory loads no event loop.
    module = next((module for scheme, module in _modules() if separator and scheme == wanted), None)
    if module is None:
        # The URL is not shown: it may hold a password.
        raise ConfigurationError(
            "the URL of the state begins with no scheme that is supported",
            details=f"supported: {', '.join(f'{scheme}://' for scheme in schemes())}",
            resolution="write a URL that begins with one of these",
        )
    opened: Objects = module.open_url(url, limits or Limits())
    return opened


def schemes() -> tuple[str, ...]:
    """The schemes of URLs that `open_objects` takes, in order."""
    return tuple(sorted(scheme for scheme, _ in _modules()))


def _modules() -> Iterator[tuple[str, ModuleType]]:
    """Every scheme with its module. Importing these loads none of the libraries that they use."""
    for found in pkgutil.iter_modules(__path__):
        module = importlib.import_module(f"{__name__}.{found.name}")
        for scheme in getattr(module, "SCHEMES", ()):
            yield scheme, module
