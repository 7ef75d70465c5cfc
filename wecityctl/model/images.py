"""Names of images: those that wecityctl builds, and the parts of a reference."""

from __future__ import annotations

# RFC 2606 reserves `.invalid`: it never resolves, so nobody can serve a forged image under this name.
BUILT_HOST = "built.wecity.invalid"

# The capability type that keeps images, and the first part of the names of the city's own repositories there.
REGISTRY, CITY_REPOSITORIES = "registry", "city"


def repository(image: str) -> str:
    """The reference without tag and digest; a port of the registry stays."""
    name = image.partition("@")[0]
    directory, slash, last = name.rpartition("/")
    return f"{directory}{slash}{last.partition(':')[0]}"
