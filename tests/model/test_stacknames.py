"""The names of stacks, read and written, and the order of layers."""

from __future__ import annotations

import pytest

from wecityctl.model import naming
from wecityctl.model.stacknames import LAYERS, StackName


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("xc.secrets", StackName("xc", "secrets")),
        ("xc.landing.main", StackName("xc", "landing", cloud="main")),
        ("xc.tenant.health.main", StackName("xc", "tenant", "health", "main")),
        ("xc.entry", StackName("xc", "entry")),
        ("dev", StackName("dev", "")),
        ("", StackName("", "")),
    ],
)
def test_a_name_is_its_parts_and_back(name: str, parts: StackName) -> None:
    assert StackName.parse(name) == parts
    assert str(parts) == name
    assert parts.within_city == name.partition(".")[2]


def test_what_naming_writes_is_read() -> None:
    parts = StackName.parse(naming.stack_name("xc", "crossing", "health", "main"))
    assert (parts.city, parts.layer, parts.subject, parts.cloud) == ("xc", "crossing", "health", "main")


def test_layers_come_up_in_their_order_and_unknown_ones_last() -> None:
    assert [layer.rank for layer in LAYERS.values()] == list(range(len(LAYERS)))
    assert StackName.parse("xc.secrets").rank < StackName.parse("xc.base.main").rank < StackName.parse("xc.entry").rank
    assert StackName.parse("xc.other.main").rank == StackName.parse("dev").rank == len(LAYERS)
