"""Checks that all programs and libraries of an image find the shared libraries that they need.

This makes it safe to leave packages out. Only what the dynamic linker uses is read from the files (ELF specification
and Linux conventions for x86-64 and AArch64, little endian).
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass

from wecityctl.oci.tree import Tree, merged

MAGIC = b"\x7fELF"
TRIPLETS = {"amd64": "x86_64-linux-gnu", "arm64": "aarch64-linux-gnu"}
_CLASS_64, _LITTLE = 2, 1
_PT_LOAD, _PT_DYNAMIC = 1, 2
_DT_NULL, _DT_NEEDED, _DT_STRTAB, _DT_RPATH, _DT_RUNPATH = 0, 1, 5, 15, 29


@dataclass(frozen=True, slots=True)
class Dynamic:
    """The shared libraries that an ELF file needs, and its own search path."""

    needed: tuple[str, ...]
    search: tuple[str, ...]


def missing_libraries(tree: Tree, architecture: str, loaded: Sequence[str] = ()) -> list[str]:
    """One line for each library that a file of the tree's own layer needs and the image lacks.

    `loaded` are directories of libraries that programs load explicitly before others that need them.
    """
    triplet = TRIPLETS[architecture]
    own = tuple(place for path in loaded if (place := _followed(tree, path)) is not None)
    standard = (f"usr/lib/{triplet}", "usr/lib", "usr/lib64", "usr/local/lib", *own)
    problems = []
    for path, entry in sorted(tree.own.items()):
        if not entry.is_file:
            continue
        asked = dynamic(entry.read())
        if asked is None:
            continue
        here = path.rpartition("/")[0]
        search = [
            merged(place.replace("$ORIGIN", f"/{here}").replace("${ORIGIN}", f"/{here}")) for place in asked.search
        ]
        for name in asked.needed:
            if not any(tree.resolve(f"{place}/{name}") for place in (*search, *standard)):
                problems.append(f"/{path} needs {name}")
    return problems


def dynamic(content: bytes) -> Dynamic | None:
    """The dynamic section of a 64-bit little-endian ELF file; `None` for anything else and for static programs."""
    if content[:4] != MAGIC or content[4] != _CLASS_64 or content[5] != _LITTLE:
        return None
    offset, size, count = struct.unpack_from("<Q", content, 32)[0], *struct.unpack_from("<HH", content, 54)
    segments = [struct.unpack_from("<IIQQQQQQ", content, offset + index * size) for index in range(count)]
    loads = [(vaddr, start, length) for kind, _, start, vaddr, _, length, _, _ in segments if kind == _PT_LOAD]
    table = next(((start, length) for kind, _, start, _, _, length, _, _ in segments if kind == _PT_DYNAMIC), None)
    if table is None:
        return None
    tags: list[tuple[int, int]] = []
    for position in range(table[0], table[0] + table[1], 16):
        tag, value = struct.unpack_from("<qQ", content, position)
        if tag == _DT_NULL:
            break
        tags.append((tag, value))
    strings = _file_offset(next((value for tag, value in tags if tag == _DT_STRTAB), 0), loads)

    def text(value: int) -> str:
        end = content.index(b"\0", strings + value)
        return content[strings + value : end].decode()

    search = [text(value) for tag, value in tags if tag in (_DT_RPATH, _DT_RUNPATH)]
    needed = tuple(text(value) for tag, value in tags if tag == _DT_NEEDED)
    return Dynamic(needed, tuple(place for entry in search for place in entry.split(":") if place))


def _followed(tree: Tree, path: str) -> str | None:
    """The target of a directory path after resolving links in any of its parts; `None` if it does not exist."""
    place = ""
    for part in merged(path).split("/"):
        found = tree.resolve(f"{place}/{part}".lstrip("/"))
        if found is None:
            return None
        place = found
    return place


def _file_offset(address: int, loads: list[tuple[int, int, int]]) -> int:
    for vaddr, start, length in loads:
        if vaddr <= address < vaddr + length:
            return address - vaddr + start
    return address
