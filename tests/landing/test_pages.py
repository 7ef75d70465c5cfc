"""Each vendor's page says what the code holds: the reserved ranges with their sources."""

from pathlib import Path

import pytest

from wecityctl.model.reserved import reserved_on
from wecityctl.model.vendors import Limits, vendors

PAGES = Path(__file__).parents[2] / "docs" / "reference" / "clouds"


@pytest.mark.parametrize("vendor", vendors())
def test_a_page_names_every_reserved_range_of_its_vendor_and_no_other(vendor: str) -> None:
    text = (PAGES / f"{vendor}.md").read_text(encoding="utf-8")
    assert "has run against a real API" in text
    for item in (item for each in vendors().values() for item in each.reserved):
        assert (f"| `{item.range}` |" in text) == (reserved_on(vendor, str(item.range)) is not None)
    limits = vendors()[vendor].limits
    for prefix in limits.network_prefixes if limits != Limits() else ():
        assert f"/{prefix}" in text
