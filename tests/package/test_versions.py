"""The version of the Kubernetes SDK is written in layers that may not import each other: they must agree."""

from __future__ import annotations

import tomllib
from importlib.metadata import version
from pathlib import Path

from wecityctl.engine.process.home import SDK_VERSION
from wecityctl.provider.schema import VERSION
from wecityctl.toolchain.catalogue import KUBERNETES_PLUGIN_VERSION

ROOT = Path(__file__).parents[2]


def test_the_kubernetes_sdk_has_one_version() -> None:
    dependencies = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    assert f"pulumi-kubernetes=={SDK_VERSION}" in dependencies
    assert SDK_VERSION == VERSION == version("pulumi-kubernetes")
    assert f"v{SDK_VERSION}" == KUBERNETES_PLUGIN_VERSION
