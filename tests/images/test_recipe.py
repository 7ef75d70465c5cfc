"""Recipes: those we ship are valid, and what is wrong with others is said."""

from __future__ import annotations

from pathlib import Path

import pytest

from stacks.catalogue import registered
from wecityctl import oci
from wecityctl.errors import ConfigurationError
from wecityctl.oci import lock as locks
from wecityctl.oci.recipe import LOCK_FILE, RecipeError, load_catalogue, load_recipe, with_bases
from wecityctl.toolchain.catalogue import Catalogue as Parts

GOOD = """\
name: web
title: A web server
version: "1.2"
licence: MIT
go: {output: /web}
"""


def write(directory: Path, text: str, name: str = "web") -> Path:
    path = directory / name / "image.yaml"
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    return path


def test_shipped_recipes_are_the_images_that_the_stacks_name() -> None:
    names = {recipe.name for recipe in oci.catalogue()}
    own = {name for item in registered().values() for name in item.type.images}
    assert names == {"backup", "coredns", "debian", "pause", "pipeline", "sample-app"} | own
    assert own >= {"cache", "gateway", "identity", "object-storage", "postgresql"}


@pytest.mark.parametrize("recipe", oci.catalogue(), ids=lambda recipe: recipe.name)
def test_shipped_recipe_is_locked(recipe: oci.Recipe) -> None:
    """What has packages has a lock with all of them."""
    lock = locks.read(recipe.directory / LOCK_FILE)
    assert (lock is not None) == recipe.is_locked
    if recipe.debian:
        assert lock is not None
        locked = {item.package for item in lock.debian["amd64"]}
        assert set(recipe.debian.packages) <= locked
        assert not locked & set(recipe.debian.without)
    if recipe.python:
        assert lock is not None
        wanted = {item.lower().replace("-", "_") for item in recipe.python.requirements}
        assert wanted <= {f"{wheel.project.lower().replace('-', '_')}=={wheel.version}" for wheel in lock.python}


def test_numbers_of_users_are_upstreams() -> None:
    """Source: the Dockerfiles of docker.io/library/postgres, valkey/valkey and library/nginx."""
    users = {recipe.name: recipe.user and (recipe.user.uid, recipe.user.gid) for recipe in oci.catalogue()}
    expected = {
        "postgresql": (999, 999),
        "cache": (999, 999),
        "gateway": (101, 101),
        "sample-app": (65532, 65532),
        "identity": (1000, 0),
        "object-storage": (65532, 65532),
        # A base is no image to run, and the embedded cloud says as whom the other two run.
        "debian": None,
        "pause": None,
        "coredns": None,
    }
    assert {name: users[name] for name in expected} == expected


def test_part_of_an_image_has_the_version_of_the_part() -> None:
    versions = {part.name: part.version.removeprefix("v") for part in Parts().parts}
    parts = {recipe.name: recipe.part.name for recipe in oci.catalogue() if recipe.part}
    assert parts == {"coredns": "coredns"}
    for recipe in oci.catalogue():
        if recipe.name in parts:
            assert recipe.version == versions[parts[recipe.name]]


def test_valid_recipe(tmp_path: Path) -> None:
    recipe = load_recipe(write(tmp_path, GOOD))
    assert (recipe.name, [item.output for item in recipe.go], recipe.stop_signal) == ("web", ["/web"], "SIGTERM")


def test_a_recipe_may_build_several_programs(tmp_path: Path) -> None:
    several = "go:\n  - {package: ./one, output: /one}\n  - {package: example.org/two/cmd, output: /two}"
    recipe = load_recipe(write(tmp_path, GOOD.replace("go: {output: /web}", several)))
    assert [(item.package, item.output) for item in recipe.go] == [("./one", "/one"), ("example.org/two/cmd", "/two")]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("colour: red", "colour: Extra inputs are not permitted"),
        ("name: web", "'name' is given twice"),
        ("upstream: nginx", "upstream: Value error, 'nginx' is not a full reference with host and tag"),
        ("upstream: docker.io/library/nginx", "is not a full reference with host and tag"),
        ("environment: {path: /bin}", "'path' is not the name of an environment variable"),
        ("links: {/usr/../etc/passwd: /x}", "is not a plain absolute path"),
        ("links: {usr/bin/x: /x}", "is not a plain absolute path"),
        ("ports: [70000]", "ports.0: Input should be less than 65536"),
        ("ports: ['80']", "ports.0: Input should be a valid integer"),
        ("stop_signal: TERM", "'TERM' is not a signal such as SIGTERM"),
        ("directories: [{path: /x, mode: '999'}]", "'999' is not an octal mode such as 0755"),
        ("debian: {suite: bookworm, packages: []}", "debian.packages: Tuple should have at least 1 item"),
        ("debian: {suite: bookworm, packages: ['a b']}", "'a b' is not the name of a Debian package"),
        ("python: {version: '3.11', target: /x, requirements: [redis]}", "'redis' is not a requirement"),
        ("python: {version: '3.11', target: /x, requirements: []}", "needs an interpreter"),
        ("user: {name: app, uid: 1, gid: 1, home: /}", "added to the base's users"),
        ("user: {name: app, uid: -1, gid: 1, home: /}", "user.uid: Input should be greater than or equal to 0"),
        ("maven: {}", "maven: Value error, one of archives or classpath is needed"),
        (
            "maven: {archives: [{artifact: 'g:a', target: /x}]}",
            "maven.archives.0.artifact: Value error, 'g:a' is not of",
        ),
        ("maven: {archives: [{artifact: 'g:a:1', target: /x}]}", "is none of the types zip, tar.gz"),
        (
            "maven: {archives: [{artifact: 'g:a:1:zip', target: /x, strip: 99}]}",
            "maven.archives.0.strip: Input should be",
        ),
        (
            "maven: {classpath: {target: /x, artifacts: ['g:a:1'], without: [g]}}",
            "'g' is not of the form group:artifact",
        ),
        ("npm: {target: /x, packages: [semver]}", "npm.packages.0: Value error, 'semver' is not an npm package with"),
        ("npm: {target: /x, packages: ['semver@^7.0.0']}", "is not an npm package with its exact version"),
        ("npm: {target: /x, packages: ['../x@1.0.0']}", "is not an npm package with its exact version"),
        ("certificates: {}", "certificates: Value error, one of pem or java is needed"),
        ("run: {command: [/x], outputs: [/y]}", "run: needs programs"),
        ("directory: /tmp", "unknown field: directory"),
        ("[", "cannot be read as YAML"),
    ],
)
def test_invalid_recipe(tmp_path: Path, change: str, message: str) -> None:
    path = write(tmp_path, f"{GOOD}{change}\n")
    with pytest.raises(RecipeError) as caught:
        load_recipe(path)
    assert caught.value.exit_code == 2
    assert str(path) in caught.value.message
    assert message in f"{caught.value.message}\n{caught.value.details}"


def test_all_problems_at_once(tmp_path: Path) -> None:
    with pytest.raises(RecipeError) as caught:
        load_recipe(write(tmp_path, f"{GOOD}ports: [0]\ncolour: red\nworkdir: tmp\n"))
    assert len(caught.value.details.splitlines()) == 3


def test_name_is_the_directorys(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="is not the name of its directory"):
        load_recipe(write(tmp_path, GOOD, name="other"))


def test_bases(tmp_path: Path) -> None:
    write(tmp_path, GOOD)
    write(tmp_path, "name: app\ntitle: a\nversion: '1'\nlicence: MIT\nbase: web\n", name="app")
    recipes = load_catalogue(tmp_path)
    assert [recipe.name for recipe in with_bases(recipes, ("app", "web"))] == ["web", "app"]
    with pytest.raises(ConfigurationError, match="no image called 'wep'") as caught:
        with_bases(recipes, ("wep",))
    assert (caught.value.details, caught.value.resolution) == ("there are: app, web", "did you mean 'web'?")


@pytest.mark.parametrize(("base", "message"), [("nothing", "is no image"), ("app", "is its own base")])
def test_wrong_base(tmp_path: Path, base: str, message: str) -> None:
    write(tmp_path, f"name: app\ntitle: a\nversion: '1'\nlicence: MIT\nbase: {base}\n", name="app")
    with pytest.raises(RecipeError, match=message):
        load_catalogue(tmp_path)


def test_files_of_a_package_that_is_not_installed_are_refused(tmp_path: Path) -> None:
    debian = "debian: {suite: bookworm, packages: [core], only: {tool: [/usr/bin/tool]}}"
    with pytest.raises(RecipeError) as caught:
        load_recipe(write(tmp_path, GOOD.replace("go: {output: /web}", debian)))
    assert "only: tool is not among the packages" in (caught.value.details or "")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "not JSON"),
        ("[]", "not a lock of format 1"),
        ('{"format": 2}', "not a lock of format 1"),
        ('{"format": 1, "gems": []}', "unknown fields: gems"),
        ('{"format": 1, "debian": {"amd64": [{"package": "a"}]}}', "missing or unknown fields"),
        (
            '{"format": 1, "python": [{"project": "a", "version": "1", "file": "a.whl", "sha256": "x"}]}',
            "not a SHA-256",
        ),
    ],
)
def test_invalid_lock(text: str, message: str) -> None:
    with pytest.raises(locks.LockError) as caught:
        locks.parse(text, "images/web/lock.json")
    assert message in caught.value.message
    assert caught.value.message.startswith("images/web/lock.json: ")


def test_lock_round_trip() -> None:
    packages = tuple(locks.DebianPackage(name, "1:2-3", "a" * 64, 4) for name in ("zsh", "bash"))
    lock = locks.Lock({"amd64": tuple(sorted(packages))}, (locks.Wheel("p", "1", "p-1-py3-none-any.whl", "b" * 64),))
    assert locks.parse(lock.canonical(), "here") == lock
    assert locks.Lock({"amd64": packages}, lock.python).canonical() == lock.canonical()
