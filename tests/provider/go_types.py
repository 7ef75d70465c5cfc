"""Reads the Go types of the Kubernetes API and writes the table of fields whose zero means absent.

`wecityctl/provider/zeros.json` is generated from here (`python -m tests.generate`) where the Go sources are.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from wecityctl.provider.kinds import BUILTIN_GROUPS

ZEROS: Final = Path(__file__).parents[2] / "wecityctl/provider/zeros.json"
MODULES: Final = ("api", "apimachinery", "apiextensions-apiserver", "kube-aggregator")
META: Final = "k8s.io/apimachinery/pkg/apis/meta/v1"
# Types that write themselves as JSON: what is in them is compared exactly.
OPAQUE: Final = {
    f"{META}.{name}": "scalar" for name in ("Time", "MicroTime", "Duration", "FieldsV1", "TypeMeta", "ListMeta")
} | {
    "k8s.io/apimachinery/pkg/util/intstr.IntOrString": "scalar",
    "k8s.io/apimachinery/pkg/api/resource.Quantity": "quantity",
    "k8s.io/apimachinery/pkg/runtime.RawExtension": "unknown",
    **{
        f"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1.{name}": "unknown"
        for name in ("JSON", "JSONSchemaPropsOrArray", "JSONSchemaPropsOrBool", "JSONSchemaPropsOrStringArray")
    },
}
_FIELD: Final = re.compile(r'^\t(?:([A-Z]\w*) +)?(\S+) +`json:"([^"]*)"')
_NAMED: Final = re.compile(r"^type ([A-Z]\w*) +(?:= +)?(\*?(?:map\[[^\]]*\]|\[\])*[\w.]+)$", re.MULTILINE)
_STRUCT: Final = re.compile(r"^type ([A-Z]\w*) struct \{\n(.*?)^\}", re.MULTILINE | re.DOTALL)
_IMPORT: Final = re.compile(r'^\s+(?:(\w+) )?"([^"]+)"$', re.MULTILINE)
_CODE: Final = re.compile(r"0?(?:\[\]|\{\}|q)?(.*)")
_SKIPPED: Final = ("_test.go", "generated.pb.go", "generated.go", "_swagger_doc_generated.go")


@dataclass
class Package:
    """One Go package: its structs' fields (Go name, type, JSON tag), its other named types, its imports."""

    path: str
    structs: dict[str, list[tuple[str, str, str]]] = field(default_factory=dict)
    named: dict[str, str] = field(default_factory=dict)
    imports: dict[str, str] = field(default_factory=dict)
    group: str | None = None


def sources(version: str) -> Path | None:
    """The folder `k8s.io` of Go's module cache, if the API's modules of that version (`v0.36.3`) are there."""
    home = os.environ.get("GOMODCACHE") or Path(os.environ.get("GOPATH") or Path.home() / "go") / "pkg/mod"
    root = Path(home) / "k8s.io"
    return root if all((root / f"{name}@{version}").is_dir() for name in MODULES) else None


def table(root: Path, version: str) -> str:
    """The text of `zeros.json`: one line for each kind and type."""
    reader = _Reader(root, version)
    kinds = dict(sorted(reader.kinds()))
    types: dict[str, dict[str, str]] = {}
    waiting = list(kinds.values())
    while waiting:
        name = waiting.pop()
        if name not in types:
            types[name] = dict(sorted(reader.fields(name)))
            waiting += filter(None, map(_child, types[name].values()))
    kept = _without_empty(types)
    parts = [
        ",\n".join(f"{json.dumps(key)}:{json.dumps(value, separators=(',', ':'))}" for key, value in part.items())
        for part in ({k: n for k, n in kinds.items() if n in kept}, dict(sorted(kept.items())))
    ]
    return f'{{"kinds":{{\n{parts[0]}\n}},\n"types":{{\n{parts[1]}\n}}}}\n'


def _without_empty(types: dict[str, dict[str, str]]) -> dict[str, dict[str, str]]:
    # Types of which nothing is said, and the ways to them, are left out.
    while True:
        kept = {name: fields for name, fields in types.items() if fields}
        if len(kept) == len(types):
            return kept
        types = {}
        for name, fields in kept.items():
            left = {key: _shortened(code, kept) for key, code in fields.items()}
            types[name] = {key: code for key, code in left.items() if code.strip("[]{}")}


def _child(code: str) -> str:
    # The struct that a code leads to, empty if none.
    found = _CODE.fullmatch(code)
    return found[1] if found else ""


def _shortened(code: str, kept: dict[str, dict[str, str]]) -> str:
    child = _child(code)
    return code if not child or child in kept else code.removesuffix(child)


class _Reader:
    def __init__(self, root: Path, version: str) -> None:
        self._root, self._version = root, version
        self._packages: dict[str, Package] = {}

    def kinds(self) -> Iterator[tuple[str, str]]:
        """(`apps/v1 Deployment`, type) for every kind of the stable versions."""
        for folder in [
            *sorted(self._root.glob(f"api@{self._version}/*/v[0-9]")),
            self._root / f"apiextensions-apiserver@{self._version}/pkg/apis/apiextensions/v1",
            self._root / f"kube-aggregator@{self._version}/pkg/apis/apiregistration/v1",
        ]:
            module, _, rest = str(folder.relative_to(self._root)).partition(f"@{self._version}/")
            package = self._package(f"k8s.io/{module}/{rest}")
            if package.group is None or package.group not in BUILTIN_GROUPS:
                continue
            version = f"{package.group}/{folder.name}".lstrip("/")
            for name, fields in package.structs.items():
                embedded = {kind.rpartition(".")[2] for go, kind, _ in fields if not go}
                if {"TypeMeta", "ObjectMeta"} <= embedded and not name.endswith("List"):
                    yield f"{version} {name}", self._label(f"{package.path}.{name}")

    def fields(self, label: str) -> Iterator[tuple[str, str]]:
        """(JSON name, code) of the fields of a type of which something is to be said."""
        path, _, name = self._full(label).rpartition(".")
        package = self._package(path)
        whole = any(kind.endswith("TypeMeta") for _, kind, _ in package.structs[name])
        for _, kind, tag in package.structs[name]:
            key, *options = tag.split(",")
            if "inline" in options or (not key and not options):
                inlined = self._resolve(kind, package)
                if inlined not in OPAQUE:
                    yield from self.fields(self._label(inlined))
                continue
            if key in ("-", "managedFields") or (whole and key == "status"):
                continue
            code = self._code(kind, package, omitted="omitempty" in options)
            if code:
                yield key, code

    def _code(self, kind: str, package: Package, *, omitted: bool) -> str:
        pointer = kind.startswith("*")
        shape, element = self._shape(kind.lstrip("*"), package)
        if pointer:
            zero = ""
        elif shape in ("list", "map"):
            zero = "0" if omitted else ""
        else:
            zero = "" if shape == "unknown" else "0"
        marks = {"list": "[]", "map": "{}", "quantity": "q"}.get(shape, "")
        if not zero and not element:
            return ""
        return zero + marks + element

    def _shape(self, kind: str, package: Package) -> tuple[str, str]:
        # (struct, list, map, scalar, quantity or unknown; the label of the struct in it)
        if kind == "[]byte":
            return "scalar", ""
        for prefix, shape in (("[]", "list"), ("map[", "map")):
            if kind.startswith(prefix):
                inner, element = self._shape(kind.partition("]")[2].lstrip("*"), package)
                return shape, element if inner == "struct" else ""
        full = self._resolve(kind, package)
        if full in OPAQUE:
            return OPAQUE[full], ""
        path, dot, name = full.rpartition(".")
        if not dot:
            return "scalar", ""
        home = self._package(path)
        if name in home.structs:
            return "struct", self._label(full)
        if name in home.named:
            return self._shape(home.named[name].lstrip("*"), home)
        return "unknown", ""

    def _resolve(self, kind: str, package: Package) -> str:
        alias, dot, name = kind.lstrip("*").rpartition(".")
        if dot:
            return f"{package.imports[alias]}.{name}"
        return f"{package.path}.{name}" if name in package.structs or name in package.named else name

    def _label(self, full: str) -> str:
        return full.removeprefix("k8s.io/").replace("apimachinery/pkg/apis/", "").removeprefix("api/")

    def _full(self, label: str) -> str:
        if label.startswith("meta/"):
            return f"k8s.io/apimachinery/pkg/apis/{label}"
        return f"k8s.io/{label}" if label.startswith(MODULES[1:]) else f"k8s.io/api/{label}"

    def _package(self, path: str) -> Package:
        if path not in self._packages:
            self._packages[path] = self._read(path)
        return self._packages[path]

    def _read(self, path: str) -> Package:
        package = Package(path)
        _, module, rest = path.split("/", 2)
        for file in sorted((self._root / f"{module}@{self._version}" / rest).glob("*.go")):
            if file.name.startswith("zz_") or file.name.endswith(_SKIPPED):
                continue
            text = file.read_text(encoding="utf-8")
            for alias, target in _IMPORT.findall(text):
                package.imports[alias or target.rpartition("/")[2]] = target
            for name, body in _STRUCT.findall(text):
                found = (_FIELD.match(line) for line in body.splitlines())
                package.structs[name] = [(m[1] or "", m[2], m[3]) for m in found if m]
            package.named |= {
                name: kind for name, kind in _NAMED.findall(text) if name not in package.structs and kind != "struct"
            }
            group = re.search(r'^const GroupName = "([^"]*)"', text, re.MULTILINE)
            if group:
                package.group = group[1]
        return package


def api_version() -> str:
    """The version of the API's modules that belongs to the Kubernetes we build: `v0.36.3`."""
    module = (Path(__file__).parents[2] / "wecityctl/toolchain/modules/kubernetes/go.mod").read_text(encoding="utf-8")
    found = re.search(r"k8s\.io/kubernetes v1\.(\S+)", module)
    if found is None:
        raise ValueError("wecityctl/toolchain/modules/kubernetes/go.mod names no Kubernetes")
    return f"v0.{found[1]}"
