"""References of the catalogue's images: where they come from, and their digests."""

from __future__ import annotations

from stacks.catalogue import load_catalogue
from tests.stacks.cities import app, city
from wecityctl.image_references import image_references
from wecityctl.model.city import Images

DIGEST = f"sha256:{64 * 'a'}"


def test_a_digest_follows_the_reference_in_the_citys_registry() -> None:
    images = Images("built", "registry.example/base", digests={"cache": DIGEST})
    found = image_references(city(app("code"), images=images), load_catalogue())
    assert found["cache"].startswith("registry.example/base/cache:")
    assert found["cache"].endswith(f"@{DIGEST}")
    assert "@" not in found["postgresql"]
