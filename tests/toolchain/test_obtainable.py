"""`doctor` and errors advise to install only what can be installed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from wecityctl.operations.doctor import doctor
from wecityctl.toolchain import Settings, is_obtainable


def test_a_part_without_a_checksum_that_is_not_built_comes_from_a_bundle_alone(tmp_path: Path) -> None:
    settings = replace(Settings.from_environment(), bundle=None)
    assert is_obtainable("pulumi", settings)
    for part in ("kubernetes-plugin", "alicloud-plugin"):
        assert not is_obtainable(part, settings)
        assert is_obtainable(part, replace(settings, bundle=tmp_path / "parts.tar.gz"))


def test_doctor_does_not_advise_what_always_fails() -> None:
    assert not [item for item in doctor() if "engine install --part kubernetes-plugin" in item.remedy]
