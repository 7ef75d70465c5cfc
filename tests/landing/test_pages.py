"""Each vendor's page says what the code holds: the reserved ranges with their sources."""

from pathlib import Path

import pytest

from wecityctl.model.city import VENDORS, ProviderKind
from wecityctl.model.reserved import PREFIXES, RESERVED, reserved_on

PAGES = Path(__file__).parents[2] / "docs" / "reference" / "clouds"


@pytest.mark.parametrize("vendor", VENDORS)
def test_a_page_names_every_reserved_range_of_its_vendor_and_no_other(vendor: ProviderKind) -> None:
    text = (PAGES / f"{vendor}.md").read_text(encoding="utf-8")
    assert "has run against a real API" in text
    for item in RESERVED:
        assert (f"| `{item.range}` |" in text) == (reserved_on(vendor, str(item.range)) is not None)
    for prefix in PREFIXES.get(vendor, ()):
        assert f"/{prefix}" in text
