"""A real browser without windows, in which pages are opened as files: what it makes of them, and pictures."""

from __future__ import annotations

import shutil
import struct
import subprocess
import tempfile
import zlib
from pathlib import Path

import pytest

_NAMES = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")


def _run(page: Path, *options: str) -> str:
    program = next(filter(None, map(shutil.which, _NAMES)), None)
    if program is None:
        pytest.skip("there is no Chromium; as root on Debian: apt-get install chromium-headless-shell")
    with tempfile.TemporaryDirectory() as profile:
        command = [
            program,
            "--headless",
            # Its sandbox does not start as root; the pages are the test's own.
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--hide-scrollbars",
            f"--user-data-dir={profile}",
            *options,
            page.as_uri(),
        ]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def dom(page: Path) -> str:
    """The page as the browser has understood it, after all that may run in it has run."""
    return _run(page, "--dump-dom")


def picture(page: Path, target: Path, width: int, height: int) -> None:
    """Write what the browser shows of a page in a window of this size, in pixels, as PNG."""
    _run(page, f"--screenshot={target}", f"--window-size={width},{height}")


def size(png: Path) -> tuple[int, int]:
    """Width and height of a PNG, in pixels."""
    content = png.read_bytes()
    assert content[:8] == b"\x89PNG\r\n\x1a\n", f"{png} is no PNG"
    width, height = struct.unpack(">II", content[16:24])
    return width, height


def colours(png: Path) -> int:
    """How many different values the bytes of a PNG's filtered pixels have: few for an empty page."""
    content, data, place = png.read_bytes(), b"", 8
    while place < len(content):
        (length,) = struct.unpack(">I", content[place : place + 4])
        if content[place + 4 : place + 8] == b"IDAT":
            data += content[place + 8 : place + 8 + length]
        place += length + 12
    return len(set(zlib.decompress(data)))
