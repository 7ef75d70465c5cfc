"""Dashboards of a city on a real node: what its own store has is drawn, and a tenant's pages have its series alone."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.e2e.files import CityFiles
from tests.e2e.machine import Machine, eventually
from tests.e2e.operations.conftest import Node
from tests.e2e.operations.entry import ask
from tests.e2e.pages import follow
from tests.support import browser

pytestmark = [pytest.mark.node, pytest.mark.timeout(1500)]
# The panels of alerts that fire: of a tenant or an app, and of the city.
ALERTS = ("Alerts that fire", "Alerts of all that fire")


def empty(page: Path) -> list[str]:
    """The titles of the panels of a page that have nothing drawn."""
    sections = re.findall(r"<section><h2>(.*?)</h2>(.*?)</section>", page.read_text(encoding="utf-8"), re.DOTALL)
    assert len(sections) >= 5
    return [title for title, body in sections if "<polyline" not in body and "<circle" not in body]


def test_every_panel_is_drawn(home: Machine, city: CityFiles, node: Node, tmp_path: Path) -> None:
    directory = tmp_path / "pages"
    for name in [item["spec"]["route"]["host"] for item in city.documents("App")]:
        assert {status for _, status in ask(home, city, node, name, 3, "/healthz")} == {200}

    def missing() -> dict[str, list[str]]:
        """Panels without values, by page; whether an alert has fired is not known here."""
        home.run("dashboards", city, "--directory", directory, "--last", "15m")
        found = {page.name: [item for item in empty(page) if item not in ALERTS] for page in directory.iterdir()}
        return {name: titles for name, titles in found.items() if titles}

    def complete() -> bool:
        # What containers use is known after a minute.
        left = missing()
        assert not left, left
        return True

    eventually(complete, 150)
    assert {"index.html", "tenant.parks.html", "app.roads.roads-app.html", "capability.metrics.html"} <= {
        page.name for page in directory.iterdir()
    }
    assert directory.stat().st_mode & 0o777 == 0o700
    assert all(page.stat().st_mode & 0o777 == 0o600 for page in directory.iterdir())
    own = tmp_path / "own"
    home.run("dashboards", city, "parks", "--directory", own)
    assert {page.name for page in own.iterdir()} == {"index.html", "app.parks.parks-app.html"}
    assert "roads" not in "".join(page.read_text(encoding="utf-8") for page in own.iterdir())
    refused = home.run("dashboards", city, "parks", "--directory", directory, code=2)
    assert "files that are no page of these dashboards" in refused.err


def test_the_page_is_right_and_a_browser_shows_what_it_makes(home: Machine, city: CityFiles) -> None:
    assert follow(home, city, "see-dashboards.md", "operations") == 2
    seen = browser.dom(city.directory / "pages" / "capability.metrics.html")
    assert "<title>capability metrics</title>" in seen and seen.count("<svg ") >= 8
