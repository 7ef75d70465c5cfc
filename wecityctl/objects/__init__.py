"""Places for the objects of a state: one interface over directories, S3 and PostgreSQL.

Each place is a module here with `SCHEMES` and `open_url(url, limits)`; a new module adds its schemes by being there.
What the objects mean (stacks, locks, history) is the engine's business.
"""

from __future__ import annotations

import importlib
import pkgutil
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
    scheme, separator, _ = url.partition("://")
    known = schemes()
    if not separator or scheme not in known:
        supported = ", ".join(f"{each}://" for each in known)
        # The URL is not shown: what is before its scheme's end may hold anything.
        raise ConfigurationError(
            f"{scheme}:// is not a supported place for a state" if separator else "the place of a state is not a URL",
            details=f"supported: {supported}",
            resolution="write a URL that begins with one of these",
        )
    opened: Objects = known[scheme].open_url(url, limits or Limits())
    return opened


def schemes() -> dict[str, ModuleType]:
    """The module of every supported scheme. Importing these modules loads none of the libraries that they use."""
    modules = [importlib.import_module(f"{__name__}.{found.name}") for found in pkgutil.iter_modules(__path__)]
    return {scheme: module for module in modules for scheme in getattr(module, "SCHEMES", ())}
