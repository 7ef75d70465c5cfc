"""Downloads, against a server on the loopback interface: good ones, and every way in which they go wrong."""

from __future__ import annotations

import dataclasses
import socket
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest

from tests.toolchain.helpers import (
    ARCHIVE,
    HOST,
    Recorder,
    Vendor,
    archive,
    catalogue,
    program,
    put,
    sha256,
    tiny,
    write_lock,
)
from wecityctl.errors import ConfigurationError
from wecityctl.toolchain.download import Probe
from wecityctl.toolchain.install import Installer
from wecityctl.toolchain.model import Artifact, Part, PartInstallError, PartState, Phase, Platform, SourceName
from wecityctl.toolchain.settings import Settings

GOOD = archive({"tiny/README": b"read me", "tiny/bin/tiny": program()})
URL_PATH = f"/{HOST}/tiny/{ARCHIVE}"


@pytest.fixture
def online(settings: Settings, vendor: Vendor) -> Settings:
    """Downloads allowed, from the local server, with the good archive's digest recorded."""
    write_lock(settings.toolchain, {ARCHIVE: sha256(GOOD)})
    return dataclasses.replace(settings, offline=False, download_base=vendor.base)


def ensure(settings: Settings, *parts: Part, report: Recorder | None = None) -> Installer:
    installer = Installer(settings, catalogue(*parts))
    installer.ensure([part.name for part in installer.catalogue.parts], report or Recorder())
    return installer


def refused(settings: Settings, *parts: Part) -> str:
    with pytest.raises(PartInstallError) as caught:
        ensure(settings, *parts)
    assert list(settings.root.glob("tiny/*")) + list(settings.root.glob("tiny/.*")) == []
    return caught.value.details


def test_a_good_archive_is_installed(online: Settings, vendor: Vendor) -> None:
    vendor.offer(GOOD)
    report = Recorder()
    installer = ensure(online, report=report)
    [status] = installer.status()
    assert (status.state, status.source) == (PartState.OK, SourceName.DOWNLOAD)
    assert installer.store.binary(tiny(), "tiny").read_bytes() == program()
    assert sorted(each.name for each in installer.store.directory(tiny()).iterdir()) == ["bin", "receipt.json"]
    assert report.said(Phase.DOWNLOADING, ARCHIVE)


def test_a_bare_program_is_installed(online: Settings, vendor: Vendor) -> None:
    def bare(_: Platform) -> tuple[Artifact, ...]:
        return (Artifact(f"https://{HOST}/tiny", {"tiny": ""}),)

    write_lock(online.toolchain, {"tiny": sha256(program())})
    vendor.offer(program(), f"/{HOST}/tiny")
    assert ensure(online, tiny(artifacts=bare)).status()[0].source is SourceName.DOWNLOAD


def test_a_wrong_checksum_is_thrown_away(online: Settings, vendor: Vendor) -> None:
    vendor.offer(archive({"tiny/bin/tiny": program(note="malicious")}))
    assert f"recorded is {sha256(GOOD)}: thrown away" in refused(online)


def test_a_transfer_that_breaks_off_leaves_nothing(online: Settings, vendor: Vendor) -> None:
    def cut(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(GOOD)))
        handler.end_headers()
        handler.wfile.write(GOOD[:50])
        handler.wfile.flush()
        handler.connection.shutdown(socket.SHUT_RDWR)

    vendor.answers[URL_PATH] = cut
    assert f"broke off after 50 of {len(GOOD)} bytes" in refused(online)


def test_a_server_that_falls_silent_is_given_up(online: Settings, vendor: Vendor) -> None:
    def stall(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(GOOD)))
        handler.end_headers()
        handler.wfile.write(GOOD[:50])
        handler.wfile.flush()
        time.sleep(1.5)

    vendor.answers[URL_PATH] = stall
    assert "nothing came for 0.5 s" in refused(online)


def test_an_answer_that_is_no_success_is_said(online: Settings) -> None:
    assert "404" in refused(online)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (archive({"tiny/bin/tiny": program(), "../../evil": b"x"}), "would be written outside"),
        (archive({"tiny/bin/tiny": program(), "/tmp/evil": b"x"}), "would be written outside"),
        (archive({"tiny/bin/other": program()}), "does not hold tiny/bin/tiny"),
        (GOOD[:-30], "cannot be unpacked"),
        (b"<html>sign in first</html>", "cannot be unpacked"),
        (archive({"tiny/bin/tiny": program("1.2.4")}), "says it is 1.2.4, not 1.2.3"),
        (archive({"tiny/bin/tiny": b"garbage"}), "does not run"),
    ],
    # Not the bytes, in which the time of packing stands: every worker must find the same names.
    ids=("above", "from the root", "without the program", "cut off", "a page", "another version", "no program"),
)
def test_a_file_with_the_recorded_digest_is_still_looked_into(
    online: Settings, vendor: Vendor, data: bytes, reason: str
) -> None:
    write_lock(online.toolchain, {ARCHIVE: sha256(data)})
    vendor.offer(data)
    assert reason in refused(online)
    assert not (online.root / "evil").exists() and not (online.root.parent / "evil").exists()


def test_a_file_with_no_recorded_digest_is_never_asked_for(online: Settings, vendor: Vendor) -> None:
    write_lock(online.toolchain, {})
    vendor.offer(GOOD)
    assert f"no checksum of {ARCHIVE} is recorded" in refused(online)
    assert vendor.asked == []


def test_a_digest_for_another_version_is_none(online: Settings, vendor: Vendor) -> None:
    assert "no checksum" in refused(online, tiny(version="v1.2.4"))
    assert vendor.asked == []


@pytest.mark.parametrize("text", ["{", '{"schema": 2, "downloads": {}}', '{"schema": 1}'])
def test_a_lock_file_that_cannot_be_understood_is_an_error(online: Settings, text: str) -> None:
    put(online.toolchain / "lock.json", text.encode())
    with pytest.raises(ConfigurationError, match=r"lock\.json"):
        ensure(online)


def test_a_digest_that_is_none_is_an_error(online: Settings) -> None:
    write_lock(online.toolchain, {ARCHIVE: "sha256:" + sha256(GOOD)})
    with pytest.raises(ConfigurationError, match="not a SHA-256"):
        ensure(online)


def test_offline_asks_nobody(online: Settings, vendor: Vendor) -> None:
    assert "download: offline" in refused(dataclasses.replace(online, offline=True))
    assert vendor.asked == []


def test_one_probe_serves_the_whole_run(online: Settings, vendor: Vendor) -> None:
    vendor.offer(GOOD)
    names = ("one", "two", "three")
    write_lock(online.toolchain, {ARCHIVE: sha256(GOOD)}, *names)
    ensure(online, *(tiny(name) for name in names))
    assert len([each for each in vendor.asked if each.startswith("GET")]) == 3
    assert len([each for each in vendor.asked if each.startswith("HEAD")]) == 1


def test_an_unreachable_vendor_is_found_out_once_and_quickly(online: Settings) -> None:
    with socket.socket() as silent:
        # A listener that never accepts: connecting works, no answer comes.
        silent.bind(("127.0.0.1", 0))
        silent.listen(1)
        probe = Probe(0.3)
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/file"
        began = time.monotonic()
        assert "127.0.0.1" in probe.problem(url)
        assert probe.problem(url)
        assert time.monotonic() - began < 1.0


def test_a_closed_port_is_said_in_the_reasons(online: Settings) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        base = f"http://127.0.0.1:{unused.getsockname()[1]}"
    assert "cannot be reached" in refused(dataclasses.replace(online, download_base=base))


def test_an_address_that_is_no_web_address_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="WECITYCTL_DOWNLOAD_BASE"):
        Settings.from_environment({"WECITYCTL_DOWNLOAD_BASE": "file:///etc"})


@pytest.mark.build
def test_a_failed_download_falls_to_the_build_and_says_why(
    online: Settings,
    vendor: Vendor,
    go_environment: dict[str, str],
    go_module: Callable[[str], None],
) -> None:
    vendor.offer(b"something else")
    go_module('println("tiny version", version)')
    places = tuple(Path(entry) for entry in go_environment["PATH"].split(":"))
    named = dataclasses.replace(online, environment=go_environment, search_path=places)
    stamped = {"main.version": "v1.2.3"}
    # A mirror that somebody named and that is broken is an error: nothing else takes its place.
    details = refused(named, tiny(linker_values=stamped))
    assert "thrown away" in details and "build:" not in details

    def directly(_: Platform) -> tuple[Artifact, ...]:
        return (Artifact(f"{vendor.base}{URL_PATH}", {"tiny": "tiny/bin/tiny"}),)

    report = Recorder()
    settings = dataclasses.replace(named, download_base="")
    installer = ensure(settings, tiny(linker_values=stamped, artifacts=directly), report=report)
    assert installer.status()[0].source is SourceName.BUILD
    assert report.said(Phase.FAILED, "download", "thrown away")
