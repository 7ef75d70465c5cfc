"""Archives of registries: what they may bring into an image, and what is refused."""

from __future__ import annotations

import io
import lzma
import stat
import tarfile
import zipfile
from pathlib import Path

import pytest

from wecityctl.oci import archives, certificates, steps
from wecityctl.oci.fetching import Downloads
from wecityctl.oci.lock import Generated, Lock, NpmPackage, from_document
from wecityctl.oci.maven import parse_list, repository
from wecityctl.oci.npm import chosen
from wecityctl.oci.recipe import Python, load_recipe
from wecityctl.oci.tree import ImageBuildError, Tree, UnavailableError, regular
from wecityctl.oci.wheels import unpack as unpack_wheel


def make_zip(place: Path, files: dict[str, bytes], kind: int = stat.S_IFREG, mode: int = 0o644) -> Path:
    path = place / "x.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            info = zipfile.ZipInfo(name)
            info.external_attr = (kind | mode) << 16
            info.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(info, content)
    return path


def test_zip_is_stripped_and_dropped_from(tmp_path: Path) -> None:
    path = make_zip(tmp_path, {"x-1/README": b"r", "x-1/bin/x": b"#!", "x-1/bin/x.bat": b"b", "top": b"t"}, mode=0o775)
    tree = Tree()
    added = archives.unpack(tree, path, "g:x:1:zip", "/opt/x", strip=1, drop=("/opt/x/bin/*.bat",))
    assert added == ["/opt/x/README", "/opt/x/bin/x"]
    assert (tree.own["opt/x/bin/x"].mode, tree.own["opt/x/bin/x"].uid) == (0o755, 0)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("../x", "leads out"),
        ("a/../../x", "leads out"),
        ("/etc/passwd", "not a plain relative"),
        ("a\\..\\b", "not a p"),
    ],
)
def test_paths_that_lead_out_are_refused(tmp_path: Path, name: str, message: str) -> None:
    with pytest.raises(ImageBuildError, match=f"^g:x:1:zip: .*{message}"):
        archives.unpack(Tree(), make_zip(tmp_path, {name: b"x"}), "g:x:1:zip", "/opt/x")


def test_links_bombs_and_damage_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ImageBuildError, match="neither a file nor a directory"):
        archives.unpack(Tree(), make_zip(tmp_path, {"x": b"/etc/passwd"}, stat.S_IFLNK), "x", "/opt/x")
    with pytest.raises(ImageBuildError, match="times as large as the archive"):
        archives.unpack(Tree(), make_zip(tmp_path, {"x": bytes(32 << 20)}), "x", "/opt/x")
    path = make_zip(tmp_path, {"x": b"content" * 100})
    path.write_bytes(path.read_bytes().replace(b"x", b"y", 1))
    with pytest.raises(ImageBuildError, match="x cannot be unpacked"):
        archives.unpack(Tree(), path, "x", "/opt/x")
    with pytest.raises(ImageBuildError, match="brings no file"):
        archives.unpack(Tree(), make_zip(tmp_path, {"x": b"x"}), "x", "/opt/x", strip=1)


def test_tars_with_links_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.tgz"
    with tarfile.open(path, "w:gz") as tar:
        link = tarfile.TarInfo("package/link")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc"
        tar.addfile(link)
    with pytest.raises(ImageBuildError, match="neither a file nor a directory"):
        archives.unpack(Tree(), path, "x@1", "/opt/x", strip=1)


def test_downloads_are_held_against_the_lock(tmp_path: Path) -> None:
    served = tmp_path / "served"
    served.write_bytes(b"one")
    downloads = Downloads(tmp_path / "cache")
    digest = downloads.learn(served.as_uri())
    assert downloads.get("", digest).read_bytes() == b"one"
    with pytest.raises(ImageBuildError, match="has the SHA-256"):
        downloads.get(served.as_uri(), "0" * 64)
    with pytest.raises(UnavailableError, match="offline"):
        Downloads(tmp_path / "cache", offline=True).get(served.as_uri(), "0" * 64)
    with pytest.raises(ImageBuildError, match="no address of a registry"):
        downloads.learn("ftp://registry.example/x")


def test_mirror_of_mavens_settings_is_asked(tmp_path: Path) -> None:
    (tmp_path / ".m2").mkdir()
    (tmp_path / ".m2" / "settings.xml").write_text(
        '<settings xmlns="http://maven.apache.org/SETTINGS/1.0.0"><mirrors><mirror><mirrorOf>*,!other</mirrorOf>'
        "<url>https://mirror.city.example/maven/</url></mirror></mirrors></settings>"
    )
    assert repository({"HOME": str(tmp_path), "PATH": ""}) == "https://mirror.city.example/maven"


def test_output_of_maven_is_read() -> None:
    text = (
        "\nThe following files have been resolved:\n   g.h:a:jar:1.0:compile -- module x\n   g:b:jar:linux:2:runtime\n"
    )
    assert parse_list(text) == {"g.h:a:1.0", "g:b:2:jar:linux"}


def test_install_scripts_and_strangers_of_npm_are_refused() -> None:
    entry = {"version": "1.0.0", "integrity": "sha512-x", "hasInstallScript": True}
    document = {"packages": {"": {}, "node_modules/native": entry, "node_modules/mac": {**entry, "os": ["darwin"]}}}
    with pytest.raises(ImageBuildError, match=r"have one: native$"):
        chosen(document, ())
    assert [item.package for item, _ in chosen(document, ("native",))] == ["native"]
    arm = {"packages": {"node_modules/n": {"version": "1.0.0", "integrity": "sha512-x", "cpu": ["arm64"]}}}
    assert chosen(arm, ())[0][0] == NpmPackage("node_modules/n", "n", "1.0.0", "", "", "arm64")
    with pytest.raises(ImageBuildError, match="does not come from the registry"):
        chosen({"packages": {"node_modules/git": {"version": "1.0.0", "resolved": "git+ssh://x"}}}, ())


def test_wheel_with_compiled_code_and_programs(tmp_path: Path) -> None:
    wheel = tmp_path / "x-1-cp311-cp311-linux_x86_64.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("x/__init__.py", "")
        archive.writestr("x-1.data/scripts/tool", "#!python\nprint()\n")
        archive.writestr("x-1.data/data/share/x/file", "data")
        archive.writestr("x-1.data/platlib/x/y.py", "")
        archive.writestr("x-1.dist-info/WHEEL", "Root-Is-Purelib: false\n")
        archive.writestr("x-1.dist-info/entry_points.txt", "[console_scripts]\nx = x.cli:main\n")
    pure = Python(version="3.11", target="/usr/lib/x", requirements=(), prefix="/usr/local")
    with pytest.raises(ImageBuildError, match="no pure wheel"):
        unpack_wheel(Tree(), wheel, pure)
    tree = Tree()
    unpack_wheel(tree, wheel, pure.model_copy(update={"native": True}))
    tool, command = tree.own["usr/local/bin/tool"], tree.own["usr/local/bin/x"]
    assert (tool.mode, tool.read()) == (0o755, b"#!/usr/bin/python3.11\nprint()\n")
    assert b"from x.cli import main" in command.read()
    assert {"usr/lib/x/x/y.py", "usr/local/share/x/file"} <= set(tree.own)


RUN = "{name: app, title: A, version: '1', licence: MIT, base: debian, run: {command: [/x], outputs: [/opt/made]}}"


def test_what_run_made_is_the_same_every_time_and_checked(tmp_path: Path) -> None:
    (tmp_path / "app").mkdir()
    (tmp_path / "app" / "image.yaml").write_text(RUN)
    recipe = load_recipe(tmp_path / "app" / "image.yaml")
    assert recipe.run is not None
    made = []
    for number, year in enumerate((2025, 2026)):
        root = tmp_path / str(number)
        (root / "opt/made").mkdir(parents=True)
        with zipfile.ZipFile(root / "opt/made/x.jar", "w") as jar:
            for name in ("b", "a")[:: 1 if number else -1]:
                jar.writestr(zipfile.ZipInfo(name, (year, 1, 1, 0, 0, 0)), name)
        made.append(steps.pack(root, recipe.run))
    assert made[0] == made[1]
    archive = tmp_path / "generated.tar.xz"
    archive.write_bytes(made[0])
    tree = Tree()
    tree.add("opt/made/old", regular(b"old"))
    digest = Downloads(tmp_path / "cache").learn(archive.as_uri())
    steps.add(tree, recipe, Lock(generated=Generated(digest, steps.inputs(recipe, Lock()))), archive)
    assert [path for path, entry in tree.own.items() if entry.is_file] == ["opt/made/x.jar"]
    with pytest.raises(ImageBuildError, match="have changed since its run"):
        steps.add(tree, recipe, Lock(generated=Generated(digest, "0" * 64)), archive)
    archive.write_bytes(lzma.compress(b""))
    with pytest.raises(ImageBuildError, match="is not the file that was locked"):
        steps.add(tree, recipe, Lock(generated=Generated(digest, steps.inputs(recipe, Lock()))), archive)


def test_locks_of_older_versions_keep_their_text() -> None:
    text = Lock().canonical()
    assert set(from_document({"format": 1}, "x").canonical().split('"')) & {"maven", "npm", "generated"} == set()
    assert from_document({"format": 1, "debian": {}, "python": []}, "x").canonical() == text


def test_key_store_is_the_same_in_any_order() -> None:
    first = certificates.key_store({"a": b"1", "b": b"2"})
    assert first == certificates.key_store({"b": b"2", "a": b"1"})
    assert io.BytesIO(first).read(4) == bytes.fromhex("feedfeed")
