"""Dashboards as pages: which there are, what is drawn, and that nothing from outside becomes part of a page."""

from __future__ import annotations

import base64
import hashlib
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from wecityctl.dashboards import pages
from wecityctl.dashboards.boards import Dashboard, of_capability
from wecityctl.dashboards.charts import MOST, text
from wecityctl.dashboards.lines import Chart, Line, Span, lines_in
from wecityctl.dashboards.panels import CAPABILITY
from wecityctl.errors import ConfigurationError, DeploymentError
from wecityctl.model.catalogue import Panel, Unit
from wecityctl.operations.dashboards import check_directory, dashboards, unwatched
from wecityctl.session import Session, open_session

ROOT = Path(__file__).parents[2]
SPAN = Span(1_000_000_000 - 600, 1_000_000_000, 5)
HOSTILE = '</title></style><script>alert(1)</script><img src=x onerror=alert(1)>" onload="a\u202eb\x1b[31m'


class Page(HTMLParser):
    """The elements of a page, with their attributes, and all that it shows."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.shown = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.shown += data

    def count(self, tag: str, kind: str = "") -> int:
        return sum(name == tag and kind in ("", *(found.get("class") or "").split()) for name, found in self.elements)


def line(name: str, *values: float, every: int = 5) -> Line:
    """A line that ends with the span."""
    start = SPAN.end - every * (len(values) - 1)
    return Line(name, tuple((start + every * index, value) for index, value in enumerate(values)))


def page(*charts: Chart, name: str = "health/code", **more: Any) -> Page:
    board = Dashboard("app", name, more.pop("title", ""), ("main",), {}, ())
    return Page(pages.files([pages.Filled(board, charts, **more)], SPAN)[pages.FIRST])


@pytest.fixture(scope="module")
def session() -> Session:
    return open_session(ROOT / "examples/xingcheng-operations")


def test_there_is_one_for_the_city_each_tenant_app_and_capability(session: Session) -> None:
    found = dashboards(session)
    city = session.city
    assert [(item.kind, item.name) for item in found[:1]] == [("city", city.name)]
    assert {item.name for item in found if item.kind == "tenant"} == {item.name for item in city.tenants}
    assert {item.name for item in found if item.kind == "app"} == {f"{a.tenant}/{a.name}" for a in city.apps}
    assert {item.name for item in found if item.kind == "capability"} == {item.name for item in city.capabilities}
    assert len({item.file for item in found}) == len(found)
    metrics = next(item for item in found if item.name == "metrics")
    assert "Free on the volume" in {panel.title for panel in metrics.panels}
    assert unwatched(session) == {}


def test_a_tenant_has_its_own_alone(session: Session) -> None:
    found = dashboards(session, "parks-bureau")
    assert [item.name for item in found] == ["parks-bureau", "parks-bureau/trees"]
    # The store selects the series, and no panel may lift that.
    assert all(item.labels["tenant"] == "parks-bureau" for item in found)
    assert not any(panel.whole_store for item in found for panel in item.panels)
    assert [item.labels for item in dashboards(session, "trees")] == [{"tenant": "parks-bureau", "app": "trees"}]
    assert [item.labels for item in dashboards(session, "vault")] == [{"capability": "vault"}]


def test_a_type_adds_panels_to_its_instances(session: Session) -> None:
    own = Panel("Leases", "sum(leases)", "count")
    kind = replace(session.catalogue["vault"], dashboard=(own,))
    place = session.plan.placement
    found = of_capability(session.city, {**session.catalogue, "vault": kind}, place, "vault")
    assert found.panels == (*CAPABILITY, own)
    # Stacks do not run anew for a panel.
    assert repr(kind) == repr(session.catalogue["vault"])


def test_no_two_panels_of_a_dashboard_have_one_title(session: Session) -> None:
    for board in dashboards(session):
        titles = [panel.title for panel in board.panels]
        assert len(titles) == len(set(titles)), board.name


def test_a_wrong_name_is_answered_with_a_guess(session: Session) -> None:
    with pytest.raises(ConfigurationError, match="no app, tenant or capability 'metrix'") as caught:
        dashboards(session, "metrix")
    assert "did you mean 'metrics'" in caught.value.resolution


def test_a_city_without_metrics_says_so() -> None:
    assert unwatched(open_session(ROOT / "examples/xingcheng")).keys() >= {"main"}


def test_the_pages_of_a_tenant_are_not_mixed_with_those_of_others(session: Session, tmp_path: Path) -> None:
    whole, own = dashboards(session), dashboards(session, "parks-bureau")
    check_directory(tmp_path / "new", own)
    for board in own[1:]:
        (tmp_path / board.file).touch()
    (tmp_path / pages.FIRST).touch()
    check_directory(tmp_path, own)
    (tmp_path / whole[-1].file).touch()
    with pytest.raises(ConfigurationError, match="files that are no page") as caught:
        check_directory(tmp_path, own)
    assert whole[-1].file in caught.value.details
    with pytest.raises(ConfigurationError, match="not a directory"):
        check_directory(tmp_path / pages.FIRST, own)


def test_a_hostile_name_is_text() -> None:
    hostile = Line(HOSTILE, line("", 1, 2).points)
    answer = {"data": {"resultType": "matrix", "result": [{"metric": {"a": HOSTILE}, "values": [[SPAN.end, "3"]]}]}}
    read = lines_in(answer, ("a",), HOSTILE)
    chart = Chart(Panel(HOSTILE, "x"), (hostile, *read), (hostile,), (HOSTILE,))
    shown = page(chart, name=HOSTILE, title=HOSTILE, notes=(HOSTILE,))
    known = "html head meta title style body header h1 h2 p main section svg line text g polyline circle table tr th td"
    assert {tag for tag, _ in shown.elements} <= {*known.split(), "footer"}
    attributes = {name for _, found in shown.elements for name in found}
    assert not {name for name in attributes if name.startswith("on") or name in ("style", "src", "href")}
    assert "<script>alert(1)</script>" in shown.shown
    assert "\u202e" not in shown.shown and "\x1b" not in shown.shown
    assert len(read[0].name) == 60


def test_a_page_loads_and_runs_nothing() -> None:
    shown = page(Chart(Panel("a", "a"), (line("", 1, 2),)))
    (policy,) = (f["content"] or "" for tag, f in shown.elements if f.get("http-equiv") == "Content-Security-Policy")
    text = pages.files([pages.Filled(Dashboard("app", "a/b", "", ("main",), {}, ()), ())], SPAN)[pages.FIRST]
    (style,) = re.findall(r"<style>(.*?)</style>", text, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert policy == f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    assert not re.search(r"url\(|@import|https?://", text)


def test_pages_lead_to_each_other_and_are_read_anew() -> None:
    boards = [Dashboard("city", "xc", "", ("main",), {}, ()), Dashboard("app", "a/b", "", ("main",), {}, ())]
    found = pages.files([pages.Filled(item, ()) for item in boards], SPAN, refresh=30)
    assert set(found) == {"index.html", "app.a.b.html"}
    for name, written in found.items():
        shown = Page(written)
        assert {item.get("href") for tag, item in shown.elements if tag == "a"} == set(found) - {name}
        assert any(item.get("http-equiv") == "refresh" and item["content"] == "30" for _, item in shown.elements)


def test_what_is_drawn() -> None:
    within, far = line("web", 1, 1), line("api", 100, 100)
    chart = Chart(Panel("CPU", "x", "cores", ("c",), "y"), (line("api", 1, 2), line("web", 0.5, 0.25)), (far, within))
    shown = page(chart)
    # A limit out of sight would flatten what there is to see; it is in the table all the same.
    assert (shown.count("g", "line"), shown.count("g", "limit")) == (2, 1)
    assert "api22100" in shown.shown and "web0.250.51" in shown.shown


def test_gaps_are_not_drawn_over() -> None:
    points = tuple((float(SPAN.start + 5 * index), 1.0) for index in range(20) if index not in (8, 9, 11))
    shown = page(Chart(Panel("a", "a"), (Line("a", points),)))
    assert (shown.count("polyline"), shown.count("circle")) == (2, 1)
    # The line has ended, so it has no last value.
    assert "a–1" in shown.shown


def test_what_is_not_known_is_said() -> None:
    shown = page(
        Chart(Panel("a", "a")), Chart(Panel("b", "b"), problems=("cloud main: answers with 422",)), notes=("c",)
    )
    assert shown.shown.count("no values in this time") == 1
    assert "cloud main: answers with 422" in shown.shown


def test_of_many_lines_the_greatest_are_drawn() -> None:
    shown = page(Chart(Panel("a", "a"), tuple(line(f"n{index:02}", index, index) for index in range(MOST + 3))))
    assert shown.count("g", "line") == MOST
    assert "n02" not in shown.shown and "n03" in shown.shown
    assert "and 3 lines with smaller values" in shown.shown


def test_values_that_are_none_are_left_out() -> None:
    result = [
        {"metric": {"a": "x"}, "values": [[1, "NaN"], [2, "+Inf"], [3, "4"]]},
        {"metric": {"a": "gone"}, "values": [[1, "NaN"]]},
        {"metric": {}, "values": [[1, "0"]]},
    ]
    found = lines_in({"data": {"resultType": "matrix", "result": result}}, ("a",))
    assert found == (Line("", ((1, 0),)), Line("x", ((3, 4),)))


@pytest.mark.parametrize(
    "answer",
    [
        {},
        {"data": None},
        {"data": {"resultType": "vector", "result": []}},
        {"data": {"resultType": "matrix", "result": [{"metric": {}, "values": [["a"]]}]}},
        {"data": {"resultType": "matrix", "result": [{"metric": "a", "values": [[1, "2"]]}]}},
    ],
)
def test_something_else_than_series_is_an_error(answer: dict[str, Any]) -> None:
    with pytest.raises(DeploymentError, match="something else than series"):
        lines_in(answer, ("a",))


@pytest.mark.parametrize(("seconds", "step"), [(60, 5), (3600, 15), (86400, 360), (30 * 86400, 10800)])
def test_a_line_has_at_most_some_hundred_points(seconds: float, step: int) -> None:
    span = Span.until(1_700_000_003.7, seconds)
    assert (span.step, span.end % step, span.start % step) == (step, 0, 0)
    assert span.end - span.start == seconds


@pytest.mark.parametrize(
    ("value", "unit", "shown"),
    [
        (0, "count", "0"),
        (12345, "count", "12,345"),
        (2.5e9, "count", "2.5 G"),
        (1e20, "count", "1e+05 P"),
        (0.0123, "cores", "0.0123"),
        (1536, "bytes", "1.5 KiB"),
        (0, "bytes", "0 B"),
        (3 * 2**30, "bytes", "3 GiB"),
        (0.256, "share", "25.6 %"),
        (2.5, "per second", "2.5/s"),
        (-2048, "bytes", "-2 KiB"),
    ],
)
def test_values_as_people_read_them(value: float, unit: Unit, shown: str) -> None:
    assert text(value, unit) == shown


@pytest.mark.parametrize("most", [0, 1e-9, 0.003, 1, 7, 99.5, 12_345, 1e15])
@pytest.mark.parametrize("unit", ["count", "bytes", "share"])
def test_an_axis_reaches_over_its_values(most: float, unit: Unit) -> None:
    chart = Chart(replace(Panel("a", "a"), unit=unit), (line("a", 0, most),))
    shown = page(chart)
    assert 2 <= shown.count("line", "grid") <= 6
    (points,) = (found["points"] or "" for tag, found in shown.elements if tag == "polyline")
    assert all(0 <= float(item.split(",")[1]) <= 190 for item in points.split())
