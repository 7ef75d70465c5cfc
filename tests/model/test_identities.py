"""Spellings of one person's address."""

from __future__ import annotations

import pytest

from wecityctl.model.identities import person


@pytest.mark.parametrize(
    "name",
    [
        *("a@x", "A@X", "a+sec@x", "ａ@x", "MAILTO:a@x", "a\u200b@x", "mailto:Ａ+b+c@x", "a@Ｘ"),
        *("<a@x>", "A <a@x>", '"Ada, Audit" <A+audit@X.>', "Ada <mailto:a@x>", "＜a@x＞"),
        *('"a@x"', "'a@x'", '"a"@x', '"<a@x>"', "a@x.", '" a@x "', '"a+b"@x.'),
    ],
)
def test_one_person_however_the_address_is_written(name: str) -> None:
    assert person(name) == "a@x"


def test_others_stay_others() -> None:
    names = ["a@x", "b@x", "a@y", "a.b@x", "+a@x", "+b@x", "system:serviceaccount:a:b", "a+b"]
    names += ["Ada <c@x>", "<d@x>", '"e f"@x', "a@b@x", "<>", '""', '"', "@x", "a@", "a <b", "g@x.y."]
    assert len({person(name) for name in names}) == len(names)
