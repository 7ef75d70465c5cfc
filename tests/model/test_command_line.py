"""The path of the city in the commands that errors advise."""

from __future__ import annotations

from contextvars import Context, copy_context

import pytest

from wecityctl.model.command_line import CommandLine, current, remember, with_path
from wecityctl.model.environments import choose_environment
from wecityctl.model.times import in_utc
from wecityctl.model.words import listed


@pytest.mark.parametrize(
    ("advice", "shown"),
    [
        ("if it is dead: wecityctl unlock PATH two.base", "if it is dead: wecityctl unlock 'my city' two.base"),
        ("`wecityctl place PATH --explain` says why", "`wecityctl place 'my city' --explain` says why"),
        ("mend it: wecityctl state repair PATH; then go on", "mend it: wecityctl state repair 'my city'; then go on"),
        ("take that runc off PATH, then run: wecityctl doctor", "take that runc off PATH, then run: wecityctl doctor"),
    ],
)
def test_advice_names_the_path_that_was_given(advice: str, shown: str) -> None:
    def within() -> str:
        remember(CommandLine("up", "my city"))
        return with_path(advice)

    assert copy_context().run(within) == shown


def test_advice_names_the_environment() -> None:
    def within() -> str:
        remember(CommandLine("up", "city"))
        choose_environment("test")
        return with_path("wecityctl unlock PATH two.base")

    assert copy_context().run(within) == "wecityctl unlock city --env test two.base"


def test_without_a_command_nothing_is_put_in() -> None:
    assert Context().run(current) == CommandLine()
    assert Context().run(with_path, "wecityctl unlock PATH") == "wecityctl unlock PATH"


@pytest.mark.parametrize(
    ("time", "shown"), [("?", "?"), ("0001-01-01T00:00:00+08:00", "0001-01-01T00:00:00+08:00"), ("", "")]
)
def test_what_is_no_time_is_shown_as_it_is(time: str, shown: str) -> None:
    assert in_utc(time) == shown


@pytest.mark.parametrize(
    ("names", "text"), [((), ""), (("a",), "a"), (("a", "b"), "a and b"), (("a", "b", "c"), "a, b and c")]
)
def test_a_list_in_a_sentence(names: tuple[str, ...], text: str) -> None:
    assert listed(names) == text
