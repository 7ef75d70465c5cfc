"""Settings that keep a test away from the user's cache, and a Go module small enough to build in a test."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.toolchain import helpers
from wecityctl.toolchain.settings import Settings


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Nothing installed, nothing on PATH, no bundle, no digests, no network."""
    (tmp_path / "toolchain").mkdir()
    return Settings(
        root=tmp_path / "parts",
        toolchain=tmp_path / "toolchain",
        offline=True,
        plugin_home=tmp_path / "pulumi" / "plugins",
        environment={"PATH": "/nonexistent", "HOME": str(tmp_path)},
        platform=helpers.PLATFORM,
        read_timeout=0.5,
    )


@pytest.fixture
def vendor() -> Iterator[helpers.Vendor]:
    with helpers.vendor() as server:
        yield server


@pytest.fixture(scope="session")
def go() -> Path:
    """The Go command; a test that builds cannot run without it."""
    found = shutil.which("go")
    if found is None:
        pytest.skip("Go is not installed")
    return Path(found)


@pytest.fixture(scope="session")
def go_environment(go: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """An environment with Go caches of the tests' own; the module needs nothing from outside."""
    home = tmp_path_factory.mktemp("go-home")
    path = f"{go.parent}:{os.environ['PATH']}"
    return {"PATH": path, "HOME": str(home), "GOCACHE": str(home / "cache"), "GOPROXY": "off", "GOTOOLCHAIN": "local"}


@pytest.fixture
def go_module(settings: Settings) -> Callable[[str], None]:
    """Writes the module that the tiny part is built from."""

    def write(body: str = 'println("tiny version", version)') -> None:
        home = settings.toolchain / "tiny"
        helpers.put(home / "go.mod", b"module tiny.example/tiny\n\ngo 1.24\n", 0o644)
        source = f'package main\n\nvar version = "v0.0.0"\n\nfunc main() {{\n\t{body}\n}}\n'
        helpers.put(home / "main.go", source.encode(), 0o644)

    return write
