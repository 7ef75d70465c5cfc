"""Names by which images that wecityctl builds are referred to."""

from __future__ import annotations

# RFC 2606 reserves `.invalid`: it never resolves, so nobody can serve a forged image under this name.
BUILT_HOST = "built.wecity.invalid"

# The capability type that keeps images, and the first part of the names of the city's own repositories there.
REGISTRY, CITY_REPOSITORIES = "registry", "city"
