"""A user's cache for a test: programs and images are everybody's, so that nothing is built again; the rest is empty.

What an earlier run or command left in the cache must never be what makes a test pass.
"""

from __future__ import annotations

from pathlib import Path

from wecityctl import paths


def make_cache(cache_home: Path) -> Path:
    """Make `cache_home`, for XDG_CACHE_HOME, where it is not there yet."""
    shared, own = paths.cache_dir(), cache_home / paths.APP
    own.mkdir(parents=True, exist_ok=True)
    for name in ("parts", "images"):
        (shared / name).mkdir(parents=True, exist_ok=True)
        if not (own / name).is_symlink():
            (own / name).symlink_to(shared / name)
    return cache_home
