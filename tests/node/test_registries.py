"""What containerd is told of registries of the city."""

from __future__ import annotations

import tomllib
from pathlib import Path

from wecityctl.local.node.layout import Layout
from wecityctl.local.node.registries import trust


def test_containerd_knows_the_authority_of_each_registry(tmp_path: Path) -> None:
    layout = Layout(tmp_path / "data", tmp_path / "run")
    trust(layout, {"images.platform.svc:5000": "AUTHORITY", "plain.platform.svc:5000": ""})
    place = layout.registries / "images.platform.svc:5000"
    hosts = tomllib.loads((place / "hosts.toml").read_text())
    address = "https://images.platform.svc:5000"
    inside = "/run/wecity/etc/registries/images.platform.svc:5000/ca.crt"
    assert hosts == {"server": address, "host": {address: {"capabilities": ["pull", "resolve"], "ca": inside}}}
    assert (place / "ca.crt").read_text() == "AUTHORITY"
    plain = tomllib.loads((layout.registries / "plain.platform.svc:5000" / "hosts.toml").read_text())
    assert plain["host"] == {"http://plain.platform.svc:5000": {"capabilities": ["pull", "resolve"]}}


def test_a_registry_that_is_gone_is_forgotten(tmp_path: Path) -> None:
    layout = Layout(tmp_path / "data", tmp_path / "run")
    trust(layout, {"a.svc:5000": "ONE", "b.svc:5000": "ONE"})
    trust(layout, {"b.svc:5000": "TWO"})
    assert [item.name for item in layout.registries.iterdir()] == ["b.svc:5000"]
    assert (layout.registries / "b.svc:5000" / "ca.crt").read_text() == "TWO"
