"""Files of tests that run only if what decides their outcome has changed since they last passed.

A pytest plug-in. `pytest.mark.by_digest` in a file's `pytestmark` says so of the file: it starts the programs of one
capability's image, which are the same until its folder or the code that it shares changes. The digest with which it
passed is in `tests/proofs.json`, which is committed; `tests/package/test_by_digest.py` fails for an older one. What the
mark names besides, files or folders from the project's root, counts too. `PROVE=all` runs them all.

A run of a whole file in which all of its tests pass writes its record, as soon as the last has ended.
"""

from __future__ import annotations

import ast
import hashlib
import json
import os
from collections import defaultdict
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
RECORDS = ROOT / "tests" / "proofs.json"
MARK = "by_digest"
_ALL = "PROVE"
_TYPES = ROOT / "stacks" / "platforms"
# What every image is built by, and of.
_ALWAYS = ("wecityctl/oci", "images/debian")
_DIGEST = "digest"


def pytest_configure(config: pytest.Config) -> None:
    """Make the mark known; the process that hears of all tests writes the records."""
    config.addinivalue_line("markers", f"{MARK}(*paths): run the file only if what decides its outcome has changed")
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(Passed(), "digests-passed")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Skip the tests of files that have passed as they are, and give the others what is recorded of them."""
    files: dict[Path, list[pytest.Item]] = defaultdict(list)
    for item in items:
        if item.get_closest_marker(MARK):
            files[item.path].append(item)
    whole = not any("::" in argument for argument in config.args)
    for path, members in files.items():
        mark = members[0].get_closest_marker(MARK)
        assert mark is not None
        digest = digest_of(path, mark.args)
        known = proofs().get(path.relative_to(ROOT).as_posix(), {})
        if known.get("digest") == digest and os.environ.get(_ALL) != "all":
            reason = f"nothing that decides it has changed since it passed on {known['date']}; {_ALL}=all runs it"
            for item in members:
                item.add_marker(pytest.mark.skip(reason))
        elif whole:
            for item in members:
                item.user_properties.append((_DIGEST, f"{digest} {len(members)}"))


class Passed:
    """Counts the tests of each file that have passed, and writes its record with the last: a run may be ended later."""

    def __init__(self) -> None:
        self._left: dict[str, int] = {}
        self._broken: set[str] = set()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        found = dict(report.user_properties).get(_DIGEST)
        if found is None:
            return
        file = report.nodeid.partition("::")[0]
        digest, wanted = str(found).split()
        if not report.passed:
            self._broken.add(file)
        elif report.when == "teardown":
            self._left[file] = self._left.get(file, int(wanted)) - 1
            if not self._left[file] and file not in self._broken:
                record = {"date": datetime.now(UTC).date().isoformat(), "digest": digest}
                RECORDS.write_text(json.dumps(dict(sorted((proofs() | {file: record}).items())), indent=2) + "\n")


def proofs() -> dict[str, dict[str, str]]:
    """The recorded digests and days, by file."""
    found: dict[str, dict[str, str]] = json.loads(RECORDS.read_text()) if RECORDS.is_file() else {}
    return found


def marked() -> dict[Path, tuple[str, ...]]:
    """The files with the mark, and what it names besides."""
    found = {}
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        if f"mark.{MARK}" in path.read_text():
            for node in ast.parse(path.read_text()).body:
                if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "pytestmark":
                    calls = [each for each in ast.walk(node.value) if isinstance(each, ast.Call)]
                    named = [each for each in calls if ast.unparse(each.func) == f"pytest.mark.{MARK}"]
                    found[path] = tuple(str(ast.literal_eval(word)) for each in named for word in each.args)
    return found


def digest_of(path: Path, more: Iterable[str] = ()) -> str:
    """The digest of all that decides the outcome of a file of tests, `more` besides: 16 hexadecimal digits."""
    whole = hashlib.sha256()
    for each in sorted(decides(path, more)):
        whole.update(f"{each.relative_to(ROOT).as_posix()}\0".encode() + each.read_bytes() + b"\0")
    return whole.hexdigest()[:16]


def decides(path: Path, more: Iterable[str] = ()) -> set[Path]:
    """The files that decide the outcome of a file of tests.

    These are the modules of the tests that it imports, directly or not, and the configurations of its folders; what all
    of them import of the stacks, directly or not, and of the program, directly; of each capability type among that, and
    of each type or image that the file names in a word, the whole folder.
    """
    folders = (each for each in path.parents if each.is_relative_to(ROOT / "tests"))
    tests = _closure({path, *(each / "conftest.py" for each in folders if (each / "conftest.py").is_file())}, "tests")
    imported = {module for each in tests for module in _imports(each)}
    stacks = _closure({each for each in imported if each.is_relative_to(ROOT / "stacks")}, "stacks")
    own = {_type_of(each) for each in stacks} | set(_named(path))
    found = tests | stacks | {each for each in imported if each.is_relative_to(ROOT / "wecityctl")}
    for each in (*(ROOT / name for name in (*_ALWAYS, *more)), *(each for each in own if each)):
        found.update(_files(each))
    return found


def _closure(start: set[Path], package: str) -> set[Path]:
    """The modules of a package that some import, directly or not, and these."""
    found: set[Path] = set()
    left = set(start)
    while left:
        path = left.pop()
        found.add(path)
        left |= {each for each in _imports(path) if each.is_relative_to(ROOT / package)} - found
    return found


@cache
def _imports(path: Path) -> frozenset[Path]:
    """The project's modules that a module imports."""
    return frozenset(_imported(path))


def _imported(path: Path) -> Iterator[Path]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names = [each.name for each in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module, *(f"{node.module}.{each.name}" for each in node.names)]
        else:
            continue
        for name in names:
            if name.partition(".")[0] in ("tests", "stacks", "wecityctl"):
                place = ROOT.joinpath(*name.split("."))
                yield from (each for each in (place / "__init__.py", place.with_suffix(".py")) if each.is_file())


def _type_of(path: Path) -> Path | None:
    """The folder of the capability type that a module is of."""
    words = path.relative_to(ROOT).parts
    return ROOT.joinpath(*words[:4]) if words[:2] == ("stacks", "platforms") and len(words) > 4 else None


def _named(path: Path) -> Iterator[Path]:
    """The folders of types and images whose names are words of a module."""
    folders = {each.name.replace("_", "-"): each for each in _folders()}
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value in folders:
            yield folders[node.value]


@cache
def _folders() -> tuple[Path, ...]:
    images = [each.parent for each in ROOT.glob("images/*/image.yaml")]
    return (*images, *(each for each in _TYPES.glob("*/*") if (each / "__init__.py").is_file()))


def _files(place: Path) -> Iterator[Path]:
    """A file, or the files of a folder without what Python adds."""
    if place.is_file():
        yield place
        return
    if not place.is_dir():
        raise pytest.UsageError(f"the mark {MARK} names {place}, which is not there")
    yield from (each for each in place.rglob("*") if each.is_file() and "__pycache__" not in each.parts)
