"""Whether a version is one of those that an advisory means."""

from __future__ import annotations

from typing import Any

import pytest

from wecityctl.inventory.versions import Unknown, affects


def ranges(*events: dict[str, str], kind: str = "ECOSYSTEM") -> dict[str, Any]:
    return {"ranges": [{"type": kind, "events": list(events)}]}


FROM, FIXED, LAST = {"introduced": "0"}, {"fixed": "1.2.10"}, {"last_affected": "1.2.9"}


@pytest.mark.parametrize(
    ("ecosystem", "version", "fixed", "affected"),
    [
        # Each of these comes out the other way round when versions are compared as text.
        ("PyPI", "1.2.9", "1.2.10", True),
        ("PyPI", "1.2.10", "1.2.10", False),
        ("PyPI", "1.2.10rc1", "1.2.10", True),
        ("PyPI", "1.2.10.post1", "1.2.10", False),
        ("Debian:12", "7.88.1-10+deb12u5", "7.88.1-10+deb12u15", True),
        ("Debian:12", "1:1.0-1", "9.0-1", False),
        ("Debian:12", "2.0~rc1-1", "2.0-1", True),
        ("Go", "v1.9.0", "1.10.0", True),
        ("Go", "v0.0.0-20200101000000-abcdef123456", "0.0.1", True),
        ("Go", "v2.0.0+incompatible", "1.10.0", False),
        ("npm", "1.2.10-beta.1", "1.2.10", True),
        ("Maven", "26.7.3", "26.7.10", True),
        ("Maven", "26.7.3", "26.7.3", False),
        ("Maven", "1.0-SNAPSHOT", "1.0", True),
    ],
)
def test_versions_are_compared_as_their_ecosystem_does(
    ecosystem: str, version: str, fixed: str, affected: bool
) -> None:
    assessment = affects(ranges(FROM, {"fixed": fixed}), ecosystem, version)
    assert assessment.affected is affected
    assert assessment.fixed == (fixed,)


@pytest.mark.parametrize(
    ("version", "affected"),
    [("1.0.0", True), ("1.2.9", True), ("1.2.10", False), ("2.0.0", True), ("2.4.9", True), ("2.5.0", False)],
)
@pytest.mark.parametrize("order", [1, -1])
def test_a_range_may_begin_again_in_any_order(version: str, affected: bool, order: int) -> None:
    events = [FROM, FIXED, {"introduced": "2.0.0"}, {"fixed": "2.5.0"}][::order]
    assert affects(ranges(*events), "PyPI", version).affected is affected


@pytest.mark.parametrize(("version", "affected"), [("1.2.9", True), ("1.2.10", False)])
def test_the_last_affected_version_is_affected(version: str, affected: bool) -> None:
    assert affects(ranges(FROM, LAST), "PyPI", version).affected is affected


def test_what_was_never_affected_is_not() -> None:
    assert affects(ranges(FROM, {"fixed": "0"}), "Debian:12", "1.0-1").affected is False


def test_a_listed_version_is_affected_whatever_the_ranges_say() -> None:
    statement = {**ranges(FROM, {"fixed": "1.0"}), "versions": ["2.0"]}
    assert affects(statement, "PyPI", "2.0").affected is True
    assert affects({"versions": ["2.0"]}, "PyPI", "2.1").affected is False


def test_a_package_without_versions_is_affected_and_commits_say_nothing() -> None:
    assert affects({}, "PyPI", "1").affected is True
    assert affects(ranges({"introduced": "0"}, kind="GIT"), "PyPI", "1").affected is False


@pytest.mark.parametrize(
    ("ecosystem", "version", "fixed"),
    [("PyPI", "not a version!", "1.0"), ("PyPI", "1.0", "not a version!"), ("Cargo", "1.0", "2.0")],
)
def test_what_cannot_be_compared_is_told_as_unknown(ecosystem: str, version: str, fixed: str) -> None:
    assert isinstance(affects(ranges(FROM, {"fixed": fixed}), ecosystem, version).affected, Unknown)
