"""What people are told of drift: short, and still enough to see what was changed."""

from __future__ import annotations

from wecityctl.model.findings import FieldDrift, Finding


def finding(*fields: FieldDrift) -> Finding:
    return Finding("s", "urn", "v1", "ConfigMap", "shop", "settings", "conflict", ("kubectl-edit",), fields)


def test_a_long_value_is_shortened_and_its_length_told() -> None:
    text = str(FieldDrift("data.key", "a" * 500, "b"))
    assert text == f"data.key ({'a' * 120}… (500 characters) instead of b)"


def test_texts_of_several_lines_are_shown_as_a_diff_after_the_sentence() -> None:
    wanted = "\n".join(f"line {number}" for number in range(100))
    live = wanted.replace("line 50", "line fifty")
    first, *rest = finding(FieldDrift("data.conf", live, wanted)).told("refused").splitlines()
    assert first == "ConfigMap shop/settings: changed by kubectl-edit: data.conf (changed); refused"
    assert [line.strip() for line in rest] == [
        "data.conf:",
        "--- files",
        "+++ cluster",
        "@@ -50,3 +50,3 @@",
        "line 49",
        "-line 50",
        "+line fifty",
        "line 51",
    ]


def test_a_long_diff_ends_with_how_much_more_there_is() -> None:
    drift = FieldDrift("data.conf", "\n".join(map(str, range(100))), "\n".join(map(str, range(100, 200))))
    assert len(drift.diff) == 13
    assert drift.diff[-1] == "… 191 more lines"


def test_one_line_where_nothing_is_long() -> None:
    assert finding(FieldDrift("data.a", "1", "2")).told() == (
        "ConfigMap shop/settings: changed by kubectl-edit: data.a (1 instead of 2)"
    )


def test_values_with_commas_are_quoted_and_names_are_listed_as_a_sentence_does() -> None:
    many = Finding(
        "s", "urn", "v1", "ConfigMap", "shop", "settings", "conflict", ("helm", "kubectl-edit"),
        (FieldDrift("data.a", "1, 2", "1"), FieldDrift("data.b", "3", "4")),
    )  # fmt: skip
    assert many.told("refused") == (
        "ConfigMap shop/settings: changed by helm and kubectl-edit: "
        'data.a ("1, 2" instead of 1) and data.b (3 instead of 4); refused'
    )
