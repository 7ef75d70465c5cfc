"""Layers and archives: the same bytes from the same files, whatever the order and the machine."""

from __future__ import annotations

import io
import json
import os
import platform
import shutil
import subprocess
import tarfile
from pathlib import Path

import pytest

from wecityctl.oci import deb, elf, layout
from wecityctl.oci.recipe import Python, load_recipe
from wecityctl.oci.tree import EPOCH, ImageBuildError, Tree, directory, merge_links, merged, read_tar, regular, symlink
from wecityctl.oci.wheels import unpack as unpack_wheel


def tar_of(tree: Tree) -> bytes:
    stream = io.BytesIO()
    tree.write_tar(stream)
    return stream.getvalue()


def test_tar_is_the_same_in_any_order(tmp_path: Path) -> None:
    place = tmp_path / "content"
    place.write_bytes(b"two")
    entries = {"usr/bin/one": regular(b"one", 0o755), "etc/two": regular(place), "var/link": symlink("/etc/two")}
    first, second = Tree(), Tree()
    for path, entry in entries.items():
        first.add(path, entry)
    os.utime(place, (1, 1))
    for path, entry in reversed(entries.items()):
        second.add(path, entry)
    assert tar_of(first) == tar_of(second)
    with tarfile.open(fileobj=io.BytesIO(tar_of(first))) as tar:
        members = tar.getmembers()
    assert [member.name for member in members] == sorted(member.name for member in members)
    assert {(member.mtime, member.uid, member.uname, member.gname) for member in members} == {(EPOCH, 0, "", "")}


def test_tar_round_trip() -> None:
    tree = Tree()
    tree.add("data", directory(0o700, 999, 999))
    tree.add("usr/bin/tool", regular(b"#!", 0o755))
    tree.add("bin/other", regular(b"", 0o4755))
    tree.add("very/" + "long/" * 40 + "name", regular(b"x"))
    assert read_tar(io.BytesIO(tar_of(tree))) == tree.own


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("./bin/sh", "usr/bin/sh"),
        ("/lib64/ld.so", "usr/lib64/ld.so"),
        ("usr/bin/x", "usr/bin/x"),
        ("libexec/x", "libexec/x"),
        ("a/../../etc/passwd", "etc/passwd"),
    ],
)
def test_merged_usr(path: str, expected: str) -> None:
    assert merged(path) == expected


def test_upper_layer_holds_its_own_files_alone() -> None:
    base = Tree()
    base.own |= merge_links()
    base.add("bin/sh", regular(b"sh", 0o755))
    upper = Tree(base.all())
    upper.add("usr/bin", directory())
    upper.add("lib", directory())
    upper.add("bin/tool", regular(b"tool", 0o755))
    assert set(upper.own) == {"usr/bin/tool", "usr/lib"}
    assert upper.resolve("bin") == "usr/bin"
    upper.add("loop", symlink("loop"))
    assert upper.resolve("loop") is None


def make_deb(place: Path, files: dict[str, str]) -> Path:
    root = place / "package"
    (root / "DEBIAN").mkdir(parents=True)
    (root / "DEBIAN" / "control").write_text(
        "Package: tool\nVersion: 1\nArchitecture: all\nMaintainer: nobody <n@example.org>\nDescription: a tool\n"
    )
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(content)
    (root / "usr/bin").mkdir(parents=True, exist_ok=True)
    (root / "usr/bin/tool").write_text("tool")
    (root / "usr/bin/tool").chmod(0o755)
    os.link(root / "usr/bin/tool", root / "usr/bin/twin")
    (root / "usr/bin/link").symlink_to("tool")
    target = place / "tool.deb"
    subprocess.run(["dpkg-deb", "--root-owner-group", "--build", root, target], check=True, stdout=subprocess.DEVNULL)
    return target


needs_dpkg = pytest.mark.skipif(shutil.which("dpkg-deb") is None, reason="dpkg-deb is not here")


@needs_dpkg
def test_package_without_what_nobody_reads(tmp_path: Path) -> None:
    names = ["usr/share/man/man1/tool.1", "usr/share/doc/tool/README", "usr/share/doc/tool/copyright", "lib/tool/data",
             "usr/share/locale/zh_CN/LC_MESSAGES/tool.mo", "opt/unwanted/file"]  # fmt: skip
    package = make_deb(tmp_path, dict.fromkeys(names, "text"))
    tree = Tree()
    deb.unpack(tree, package, ["/opt/unwanted/*"])
    files = {path for path, entry in tree.own.items() if not entry.is_directory}
    assert files == {
        "usr/bin/tool",
        "usr/bin/twin",
        "usr/bin/link",
        "usr/share/doc/tool/copyright",
        "usr/lib/tool/data",
    }
    assert tree.own["usr/bin/twin"].read() == b"tool"
    assert tree.own["usr/bin/tool"].mode == 0o755
    assert deb.control(package).startswith(b"Package: tool\n")


@needs_dpkg
def test_some_files_of_a_package(tmp_path: Path) -> None:
    package = make_deb(tmp_path, dict.fromkeys(["usr/share/doc/tool/copyright", "lib/tool/data"], "text"))
    tree = Tree()
    deb.unpack(tree, package, [], ["/usr/lib/tool/data"])
    files = {path for path, entry in tree.own.items() if not entry.is_directory}
    assert files == {"usr/share/doc/tool/copyright", "usr/lib/tool/data"}
    with pytest.raises(ImageBuildError, match="has no /usr/bin/other"):
        deb.unpack(Tree(), package, [], ["/usr/bin/other", "/usr/bin/tool"])


@needs_dpkg
def test_damaged_package(tmp_path: Path) -> None:
    package = make_deb(tmp_path, {"usr/share/x": "x" * 100_000})
    package.write_bytes(package.read_bytes()[:-200])
    with pytest.raises(ImageBuildError, match="cannot be unpacked"):
        deb.unpack(Tree(), package, [])


def test_wheel_with_scripts_is_refused(tmp_path: Path) -> None:
    import zipfile

    wheel = tmp_path / "x-1-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("x/__init__.py", "")
        archive.writestr("x-1.data/scripts/x", "")
    with pytest.raises(ImageBuildError, match="brings programs or data") as caught:
        unpack_wheel(Tree(), wheel, Python(version="3.11", target="/usr/lib/x", requirements=()))
    assert caught.value.resolution == "say under which prefix they go"


def test_missing_libraries_are_found() -> None:
    architecture = {"x86_64": "amd64", "aarch64": "arm64"}[platform.machine()]
    libraries = f"usr/lib/{elf.TRIPLETS[architecture]}"
    program = Path("/bin/ls").resolve().read_bytes()
    asked = elf.dynamic(program)
    assert asked is not None
    assert "libc.so.6" in asked.needed
    tree = Tree()
    tree.add("usr/bin/ls", regular(program, 0o755))
    assert "/usr/bin/ls needs libc.so.6" in elf.missing_libraries(tree, architecture)
    for name in asked.needed:
        tree.add(f"{libraries}/{name}", regular(b""))
    assert elf.missing_libraries(tree, architecture) == []
    tree.own[f"{libraries}/libc.so.6"] = symlink("libc-gone.so")
    assert elf.missing_libraries(tree, architecture) == ["/usr/bin/ls needs libc.so.6"]


def test_other_files_are_no_programs() -> None:
    for content in (b"", b"#!/bin/sh\n", b"\x7fELF\x01\x01" + bytes(60)):
        assert elf.dynamic(content) is None


def archive(tmp_path: Path) -> tuple[Path, str]:
    recipe_file = tmp_path / "web" / "image.yaml"
    recipe_file.parent.mkdir()
    recipe_file.write_text(
        "{name: web, title: Web, version: '1', licence: MIT, base: debian, ports: [80], stop_signal: SIGQUIT,"
        " entrypoint: [/web], user: {name: web, uid: 101, gid: 102, home: /}, environment: {B: '2', A: '1'}}"
    )
    recipe = load_recipe(recipe_file)
    tree = Tree()
    tree.add("web", regular(b"web", 0o755))
    layer = tmp_path / "layer.tar"
    layer.write_bytes(tar_of(tree))
    config = layout.configuration(recipe, "amd64", [layout.Layer.of(layer)], "f" * 64)
    target = tmp_path / "image.tar"
    digest = layout.write_archive(target, "built.wecity.invalid/web:1-abc", config, [layout.Layer.of(layer)])
    return target, digest


def test_archive_is_an_image_layout(tmp_path: Path) -> None:
    target, digest = archive(tmp_path)
    with tarfile.open(target) as tar:
        documents = {member.name: tar.extractfile(member).read() for member in tar}  # type: ignore[union-attr]
    index = json.loads(documents["index.json"])
    (descriptor,) = index["manifests"]
    assert descriptor["digest"] == digest
    assert descriptor["annotations"]["io.containerd.image.name"] == "built.wecity.invalid/web:1-abc"
    manifest = json.loads(documents[f"blobs/{digest.replace(':', '/')}"])
    config = json.loads(documents[f"blobs/{manifest['config']['digest'].replace(':', '/')}"])
    assert config["rootfs"]["diff_ids"] == [layer["digest"] for layer in manifest["layers"]]
    assert config["config"] == {
        "Env": ["A=1", "B=2"],
        "Entrypoint": ["/web"],
        "ExposedPorts": {"80/tcp": {}},
        "StopSignal": "SIGQUIT",
        "User": "101:102",
        "WorkingDir": "/",
        "Labels": config["config"]["Labels"],
    }
    assert config["config"]["Labels"]["org.opencontainers.image.licenses"] == "MIT"


def test_archive_is_the_same_every_time(tmp_path: Path) -> None:
    """The digest is spelled out: when it changes, the builder's format has changed (`identity.BUILDER_FORMAT`)."""
    _, digest = archive(tmp_path)
    assert digest == "sha256:5190ff9506ab64616199d391acd0ab1ac1eaeed4eb3b3bd0f5425f9b2cd56422"


def test_damaged_archive_is_noticed(tmp_path: Path) -> None:
    target, _ = archive(tmp_path)
    content = target.read_bytes()
    target.write_bytes(content.replace(b"web\0", b"wob\0"))
    with pytest.raises(layout.ArchiveError):
        layout.read_layers(target, tmp_path)
