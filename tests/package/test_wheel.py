"""The wheel as users get it: built, installed away from the checkout, and used."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from tests.support.cache import make_cache

pytestmark = pytest.mark.build
ROOT = Path(__file__).parents[2]


def build(target: Path, *options: str) -> Path:
    """What the project's own back end builds from the checkout: the wheel in `target`."""
    command = [sys.executable, "-m", "build", "--no-isolation", *options, "--outdir", str(target), str(ROOT)]
    subprocess.run(command, check=True, capture_output=True)
    (found,) = target.glob("*.whl")
    return found


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of `python -m build`, which is built from the sdist beside it."""
    return build(tmp_path_factory.mktemp("dist"))


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel in a directory of its own; its dependencies are those of this environment."""
    target = tmp_path_factory.mktemp("installed")
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--target", str(target)]
    subprocess.run([*command, str(wheel)], check=True, capture_output=True)
    return target


def run(installed: Path, *arguments: str, home: Path) -> subprocess.CompletedProcess[str]:
    """The installed program, far from the checkout."""
    cache = str(make_cache(home / ".cache"))
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(installed), "HOME": str(home), "XDG_CACHE_HOME": cache}
    return subprocess.run(
        [sys.executable, str(installed / "bin" / "wecityctl"), *arguments],
        capture_output=True,
        text=True,
        cwd=home,
        env=environment,
        timeout=300,
        check=False,
    )


def test_the_wheel_has_everything_and_nothing_else(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    for wanted in (
        "stacks/program.py",
        "stacks/platforms/application/postgresql/program.py",
        "wecityctl/images/sample-app/image.yaml",
        "stacks/platforms/application/gateway/image/lock.json",
        "wecityctl/toolchain/modules/lock.json",
        "wecityctl/toolchain/modules/pulumi/go.sum",
        "wecityctl/local/netpol/__main__.py",
    ):
        assert wanted in names
    assert len(names) == len(set(names))
    assert [name for name in names if "__pycache__" in name or name.startswith("tests/")] == []


def test_a_wheel_built_without_an_sdist_is_the_same(wheel: Path, tmp_path: Path) -> None:
    def content(path: Path) -> dict[str, tuple[int, int]]:
        return {item.filename: (item.CRC, item.external_attr) for item in zipfile.ZipFile(path).infolist()}

    assert content(build(tmp_path, "--wheel")) == content(wheel)


def test_the_sdist_holds_what_the_wheel_is_built_from_and_nothing_else(wheel: Path) -> None:
    (path,) = wheel.parent.glob("*.tar.gz")
    with tarfile.open(path) as archive:
        members = archive.getmembers()
    names = {"/".join(member.name.split("/")[1:]) for member in members}
    tops = {name.partition("/")[0] for name in names}
    metadata = {".gitignore", "LICENSE", "PKG-INFO", "README.md", "pyproject.toml"}
    assert tops == metadata | {"wecityctl", "stacks", "images"}
    assert [name for name in names if name.endswith("README.md") or "test" in name] == ["README.md"]
    assert all(member.isreg() for member in members)
    assert not any(name.startswith("wecityctl/images") for name in names)


def test_an_editable_installation_is_the_checkout_alone(tmp_path: Path) -> None:
    """Copies beside it would be taken for the program's own."""
    code = "import sys, hatchling.build as b; print(b.build_editable(sys.argv[1]))"
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True, capture_output=True, cwd=ROOT)
    (path,) = tmp_path.glob("*.whl")
    names = [name for name in zipfile.ZipFile(path).namelist() if ".dist-info/" not in name]
    assert names == ["_wecityctl.pth"]


def test_the_installed_program_is_the_wheels_own(installed: Path, tmp_path: Path) -> None:
    code = "import wecityctl, stacks; print(wecityctl.__file__); print(stacks.__file__)"
    environment = {**os.environ, "PYTHONPATH": str(installed)}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, env=environment, check=True
    )
    assert len(done.stdout.splitlines()) == 2
    assert all(line.startswith(str(installed)) for line in done.stdout.splitlines())


def test_it_validates_and_renders_the_example(installed: Path, tmp_path: Path) -> None:
    city = str(ROOT / "examples" / "xingcheng")
    assert run(installed, "validate", city, home=tmp_path).returncode == 0
    rendered = run(installed, "render", city, home=tmp_path)
    assert rendered.returncode == 0, rendered.stderr
    assert rendered.stdout.count("\nkind: Deployment\n") == 5
    assert json.loads(run(installed, "schema", home=tmp_path).stdout)["$schema"].startswith("http://json-schema.org/")


@pytest.mark.cluster
def test_it_brings_a_city_up_and_takes_it_down(installed: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    home = tmp_path_factory.mktemp("h")
    city = home / "city"
    city.mkdir()
    for source in (ROOT / "examples" / "xingcheng").glob("*.yaml"):
        text = (
            source.read_text().replace("nodes: real", "nodes: simulated").replace("name: xingcheng\n", "name: wheel\n")
        )
        (city / source.name).write_text(text)
    try:
        first = run(installed, "up", str(city), "--yes", home=home)
        assert first.returncode == 0, first.stderr[-3000:]
        again = run(installed, "up", str(city), "--yes", home=home)
        assert "nothing to change" in again.stdout
    finally:
        run(installed, "local", "reset", "--name", "wheel-main", "--confirm", "wheel-main", home=home)
