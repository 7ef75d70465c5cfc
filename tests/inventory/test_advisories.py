"""Known vulnerabilities from files: which concern what runs, and files that are none."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path
from typing import Any

import pytest

from wecityctl.errors import ConfigurationError
from wecityctl.inventory import advisories
from wecityctl.inventory.advisories import match
from wecityctl.inventory.contents import Package
from wecityctl.model.severity import Severity

GNUTLS = Package("Debian:12", "libgnutls30", "3.7.9-2+b1", "gnutls28", "3.7.9-2", "object-storage")
TYPING = Package("PyPI", "typing_extensions", "4.1.0", "typing_extensions", "4.1.0", "sample-app")


def advisory(name: str = "X-1", **changes: Any) -> dict[str, Any]:
    affected = {
        "package": {"ecosystem": "Debian:12", "name": "gnutls28"},
        "ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "3.7.9-2+deb12u3"}]}],
    }
    return {"id": name, "modified": "2026-01-02T03:04:05Z", "summary": "s", "affected": [affected], **changes}


def affected(ecosystem: str, name: str) -> list[dict[str, Any]]:
    return [{"package": {"ecosystem": ecosystem, "name": name}}]


def written(path: Path, *entries: Any) -> Path:
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w") as archive:
            for number, entry in enumerate(entries):
                archive.writestr(f"../../{number}.json", json.dumps(entry))
    elif path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(entry) + "\n" for entry in entries))
    else:
        path.write_text(json.dumps(list(entries)))
    return path


@pytest.mark.parametrize("name", ["a.json", "a.jsonl", "a.zip"])
def test_each_format_gives_the_same(name: str, tmp_path: Path) -> None:
    found = match([written(tmp_path / name, advisory(), advisory("X-2"))], [GNUTLS])
    assert [item.advisory for item in found.findings] == ["X-1", "X-2"]
    assert (found.advisories, found.newest) == (2, "2026-01-02T03:04:05Z")
    assert found.findings[0].fixed == ("3.7.9-2+deb12u3",)


def test_a_directory_is_all_its_files(tmp_path: Path) -> None:
    written(tmp_path / "a.json", advisory())
    written(tmp_path / "b.zip", advisory("X-2"))
    assert len(match([tmp_path], [GNUTLS]).findings) == 2


@pytest.mark.parametrize(
    ("ecosystem", "name", "count"),
    [
        ("Debian:12", "gnutls28", 1),
        ("Debian", "gnutls28", 1),
        ("Debian:13", "gnutls28", 0),
        # Advisories name sources, and a binary package of that name may come of another one.
        ("Debian:12", "libgnutls30", 0),
        ("PyPI", "Typing.Extensions", 1),
        ("Debian:12", "typing_extensions", 0),
    ],
)
def test_packages_are_known_by_ecosystem_and_name(ecosystem: str, name: str, count: int, tmp_path: Path) -> None:
    file = written(tmp_path / "a.json", advisory(affected=affected(ecosystem, name)))
    assert len(match([file], [GNUTLS, TYPING]).findings) == count


def test_a_withdrawn_advisory_says_nothing(tmp_path: Path) -> None:
    file = written(tmp_path / "a.json", advisory(withdrawn="2026-01-01T00:00:00Z"))
    assert match([file], [GNUTLS]).findings == []


V3 = {"type": "CVSS_V3", "score": "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H"}


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ({"severity": [V3]}, Severity.CRITICAL),
        ({"severity": [{"type": "CVSS_V3", "score": "CVSS:3.1/AV:L/AC:H/PR:H/UI:R/S:U/C:L/I:N/A:N"}]}, Severity.LOW),
        ({"severity": [{"type": "CVSS_V2", "score": "AV:N/AC:L/Au:N/C:P/I:P/A:P"}]}, Severity.HIGH),
        ({"severity": [{"type": "CVSS_V3", "score": "nonsense"}]}, Severity.UNKNOWN),
        ({"severity": "high"}, Severity.UNKNOWN),
        ({"database_specific": {"severity": "MODERATE"}}, Severity.MEDIUM),
        ({"severity": [V3], "database_specific": {"severity": "LOW"}}, Severity.CRITICAL),
        ({}, Severity.UNKNOWN),
    ],
)
def test_severities(said: dict[str, Any], expected: Severity, tmp_path: Path) -> None:
    (found,) = match([written(tmp_path / "a.json", advisory(**said))], [GNUTLS]).findings
    assert found.severity is expected


def test_what_is_not_known_reaches_every_limit() -> None:
    assert Severity.UNKNOWN.reaches(Severity.CRITICAL)
    assert Severity.HIGH.reaches(Severity.MEDIUM)
    assert not Severity.MEDIUM.reaches(Severity.HIGH)


def test_a_version_that_cannot_be_compared_is_a_finding_that_says_so(tmp_path: Path) -> None:
    odd = Package("PyPI", "odd", "not a version!", "odd", "not a version!", "x")
    ranges = [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "1"}]}]
    file = written(tmp_path / "a.json", advisory(affected=[{**affected("PyPI", "odd")[0], "ranges": ranges}]))
    assert [item.match for item in match([file], [odd]).findings] == ["unknown"]


def test_an_event_that_says_two_things_says_both(tmp_path: Path) -> None:
    ranges = [{"type": "ECOSYSTEM", "events": [{"introduced": "0", "fixed": "9"}]}]
    stated = [{**affected("PyPI", "typing-extensions")[0], "ranges": ranges}]
    (found,) = match([written(tmp_path / "a.json", advisory(affected=stated))], [TYPING]).findings
    assert (found.match, found.fixed) == ("affected", ("9",))


@pytest.mark.parametrize("text", ["1-" * 5_000 + "1", "1a" * 5_000, "9" * 100_000])
def test_a_version_without_end_is_not_compared(text: str, tmp_path: Path) -> None:
    own = Package("Maven", "a:b", "1", "a:b", "1", "x")
    ranges = [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": text}]}]
    file = written(tmp_path / "a.json", advisory(affected=[{**affected("Maven", "a:b")[0], "ranges": ranges}]))
    assert [item.match for item in match([file], [own]).findings] == ["unknown"]


def test_a_file_that_is_read_as_a_whole_is_bounded(tmp_path: Path) -> None:
    with (tmp_path / "a.json").open("wb") as stream:
        stream.truncate(advisories.MAX_FILE + 1)
    with pytest.raises(ConfigurationError, match="larger than 256 MiB"):
        match([tmp_path / "a.json"], [GNUTLS])


def test_texts_of_advisories_are_printable(tmp_path: Path) -> None:
    (found,) = match([written(tmp_path / "a.json", advisory(summary="a\x1b[2J\nb"))], [GNUTLS]).findings
    assert found.summary == "a [2J b"


def test_a_time_in_the_future_is_not_the_newest(tmp_path: Path) -> None:
    file = written(tmp_path / "a.json", advisory(), advisory("X-2", modified="2999-01-01T00:00:00Z"))
    assert match([file], [GNUTLS]).newest == "2026-01-02T03:04:05Z"


def packed(method: int) -> bytes:
    """An archive of one advisory whose compressed bytes are damaged."""
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", method) as archive:
        archive.writestr("0.json", json.dumps(advisory()))
    content = bytearray(made.getvalue())
    content[60:80] = bytes(20)
    return bytes(content)


HOSTILE: dict[str, tuple[str, bytes, str]] = {
    "broken JSON": ("a.json", b'{"id": ', "a.json:1:8: not JSON"),
    "deep JSON": ("a.json", b"[" * 200_000, "a.json: not JSON that can be read"),
    "a number": ("a.json", b"1", "not an advisory: it has no id"),
    "no id": ("a.jsonl", b'{"id": "x"}\n{}\n', "a.jsonl:2: not an advisory"),
    "not UTF-8": ("a.json", b'{"id": "\xff"}', "not UTF-8"),
    "no zip": ("a.zip", b"PK\x03\x04", "not a zip archive"),
    "empty": ("a.jsonl", b"", "has no advisories"),
    "affected is text": ("a.json", b'{"id": "x", "affected": "y"}', "not an advisory of the OSV format"),
    "events are numbers": (
        "a.json",
        b'{"id": "x", "affected": [{"package": {"ecosystem": "Debian", "name": "gnutls28"}, "ranges": [1]}]}',
        "not an advisory of the OSV format",
    ),
    "an event is empty": (
        "a.json",
        b'{"id": "x", "affected": [{"package": {"ecosystem": "Debian", "name": "gnutls28"},'
        b' "ranges": [{"type": "ECOSYSTEM", "events": [{}]}]}]}',
        "not an advisory of the OSV format",
    ),
    "another compression": ("a.zip", packed(zipfile.ZIP_LZMA), "a.zip:0.json: compressed by a method other than"),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_files_that_are_none_are_refused_with_their_place(case: str, tmp_path: Path) -> None:
    name, content, message = HOSTILE[case]
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ConfigurationError) as told:
        match([tmp_path / name], [GNUTLS])
    assert message in told.value.message
    assert told.value.resolution or told.value.details


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="there is no such file"):
        match([tmp_path / "missing.json"], [GNUTLS])


def test_an_archive_that_unpacks_to_too_much_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(advisories, "MAX_ENTRY", 1000)
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.json", json.dumps(advisory(details="x" * 100_000)))
    with pytest.raises(ConfigurationError, match="unpacks to too much"):
        match([tmp_path / "a.zip"], [GNUTLS])
