"""`file://` URLs of state back ends: what they name, and which are refused with what was meant."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wecityctl.model.fileurl import FileUrlError, file_path, file_url


@given(
    st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1).filter(
        lambda name: name not in (".", "..")
    )
)
def test_every_path_has_a_url_that_names_it(name: str) -> None:
    path = Path("/srv") / name
    url = file_url(path)
    assert file_path(url) == path
    assert not set(url[len("file://") :]) & set("#? \t\n")


def test_bytes_that_are_no_text_are_kept() -> None:
    assert file_url(Path("/srv/\udcff")) == "file:///srv/%FF"
    assert file_path("file:///srv/%FF") == Path("/srv/\udcff")


def test_an_ordinary_path_is_written_as_it_is() -> None:
    assert file_url(Path("/srv/城市/we-city_1.0")) == "file:///srv/城市/we-city_1.0"


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("file:///srv/wecity", "/srv/wecity"),
        ("file:///srv/a%20b%23c%25d%3Fe", "/srv/a b#c%d?e"),
        ("file:///srv/wecity?metadata=skip&no_tmp_dir=true", "/srv/wecity"),
        ("file://~/wecity", str(Path.home() / "wecity")),
    ],
)
def test_what_a_url_names(url: str, path: str) -> None:
    assert file_path(url) == Path(path)


@pytest.mark.parametrize(
    ("url", "meant"),
    [
        ("file:///srv/a#b", "file:///srv/a%23b"),
        ("file:///srv/a?b", "file:///srv/a%3Fb"),
        ("file:///srv/100%", "file:///srv/100%25"),
        ("file:///srv/a b", "file:///srv/a%20b"),
        ("file:///srv/%41#%zz", "file:///srv/%41%23%25zz"),
        ("file://srv/wecity", "file:///srv/wecity"),
        ("file://./wecity", "file:///wecity"),
        ("file://", ""),
        ("file:///srv/%00", ""),
        ("file:///srv/\ud800", ""),
    ],
)
def test_what_names_no_directory_is_refused_with_what_was_meant(url: str, meant: str) -> None:
    with pytest.raises(FileUrlError) as caught:
        file_path(url)
    assert caught.value.suggestion == meant
    if meant:
        file_path(meant)
