"""How amounts are written for people."""

from __future__ import annotations

import pytest

from wecityctl.report.clouds import cpus, size


@pytest.mark.parametrize(
    ("millicores", "text"),
    [(0, "0"), (20, "0.02"), (1500, "1.50"), (12_500, "12.5"), (16_000, "16"), (60_000_250, "60,000")],
)
def test_cpus(millicores: int, text: str) -> None:
    assert cpus(millicores) == text


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 B"), (512, "512 B"), (32 * 1024**2, "32.0 MiB"), (768 * 1024**3, "768 GiB"), (4 * 1024**5, "4.0 PiB")],
)
def test_sizes(count: int, text: str) -> None:
    assert size(count) == text
