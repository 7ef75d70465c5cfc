"""The plan drawn: nothing left out that a reader cannot infer, and no edge behind a box."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ET
from itertools import pairwise

import pytest

from stacks.catalogue import load_catalogue
from tests.stacks.cities import app, city, full_city
from wecityctl.model.city import AppUse, Provided
from wecityctl.plan import Plan, make_plan
from wecityctl.report import graph
from wecityctl.report.graph_svg import to_svg
from wecityctl.session import open_session

SVG = "{http://www.w3.org/2000/svg}"
Point = tuple[float, float]


@pytest.fixture(scope="module", params=["full", "four-clouds"])
def plan(request: pytest.FixtureRequest) -> Plan:
    if request.param == "full":
        return make_plan(full_city(), load_catalogue())
    return open_session(request.config.rootpath / "examples/four-clouds").plan


def reached(edges: list[tuple[str, str]], start: str) -> set[str]:
    found: set[str] = set()
    waiting = [start]
    while waiting:
        waiting += (new := {target for source, target in edges if source == waiting[0]} - found)
        found |= new
        waiting.pop(0)
    return found


def test_the_edges_are_the_fewest_that_say_the_same(plan: Plan) -> None:
    whole = [(need, stack.name) for stack in plan.stacks for need in stack.depends_on]
    edges = graph.edges_of(plan)
    assert 0 < len(edges) < len(whole)
    for stack in plan.stacks:
        assert reached(edges, stack.name) == reached(whole, stack.name)
    for edge in edges:
        rest = [other for other in edges if other != edge]
        assert edge[1] not in reached(rest, edge[0])


def test_documents_and_programs_get_every_stack(plan: Plan) -> None:
    mermaid = graph.to_mermaid(plan)
    assert mermaid.startswith("flowchart LR")
    assert mermaid.count("-->") == len(graph.edges_of(plan))
    document = json.loads(graph.to_json(plan))
    assert {item["name"]: tuple(item["depends_on"]) for item in document["stacks"]} == {
        stack.name: stack.depends_on for stack in plan.stacks
    }


def curve(path: str) -> list[Point]:
    """Points on a path of absolute M, C and H commands, close to each other."""
    points: list[Point] = []
    for command, text in re.findall(r"([MCH])([^MCH]*)", path):
        numbers = [float(number) for number in text.split()]
        if command == "M":
            points.append((numbers[0], numbers[1]))
        elif command == "H":
            x, y = points[-1]
            points += [(x + (numbers[0] - x) * step / 40, y) for step in range(1, 41)]
        else:
            (x0, y0), (x1, y1, x2, y2, x3, y3) = points[-1], numbers
            for t in (step / 40 for step in range(1, 41)):
                a, b, c, d = (1 - t) ** 3, 3 * t * (1 - t) ** 2, 3 * t * t * (1 - t), t**3
                points.append((a * x0 + b * x1 + c * x2 + d * x3, a * y0 + b * y1 + c * y2 + d * y3))
    return points


def test_no_edge_runs_through_a_box_and_no_two_boxes_overlap(plan: Plan) -> None:
    drawn = ET.fromstring(to_svg(plan))
    boxes = []
    for group in drawn.findall(f"{SVG}g"):
        box = group.find(f"{SVG}rect")
        assert box is not None
        x, y, width, height = (float(box.attrib[name]) for name in ("x", "y", "width", "height"))
        boxes.append((x, y, x + width, y + height))
    assert len(boxes) == len(plan.stacks)
    assert len(drawn.findall(f"{SVG}rect[@class='band']")) == len({stack.cloud for stack in plan.stacks})
    for number, (left, top, right, bottom) in enumerate(boxes):
        for other in boxes[number + 1 :]:
            assert right <= other[0] or other[2] <= left or bottom <= other[1] or other[3] <= top
    paths = [path.attrib["d"] for path in drawn.findall(f"{SVG}path")]
    assert len(paths) == len(graph.edges_of(plan))
    for path in paths:
        points = curve(path)
        assert all(abs(a[0] - b[0]) < 20 for a, b in pairwise(points))
        inside = [(p, b) for p in points for b in boxes if b[0] < p[0] < b[2] and b[1] < p[1] < b[3]]
        assert not inside, path


def test_the_picture_is_the_same_each_time(plan: Plan) -> None:
    assert to_svg(plan) == to_svg(plan)


def test_a_plan_of_one_stack_is_drawn(plan: Plan) -> None:
    alone = plan.only(["secrets"])
    assert to_svg(alone).count("<g>") == 1


def test_calls_between_apps_are_drawn_beside_the_dependencies() -> None:
    provider = app("timetable", "transport", provides=(Provided("api", to=("health/*",)),))
    uses = (AppUse("transport", "timetable", "timetable"),)
    plan = make_plan(city(provider, app("code", app_uses=uses), app("pass", app_uses=uses)), load_catalogue())
    text = "code uses timetable/api, pass uses timetable/api"
    assert f'-. "{text}" .->' in graph.to_mermaid(plan)
    (path,) = ET.fromstring(to_svg(plan)).findall(f"{SVG}path[@class='call']")
    assert path.findtext(f"{SVG}title") == text
    flows = json.loads(graph.to_json(plan))["flows"]
    assert [(flow["app"], flow["uses"]) for flow in flows] == [
        ("health/code", "transport/timetable/api"),
        ("health/pass", "transport/timetable/api"),
    ]
    assert {(flow["from_stack"], flow["to_stack"]) for flow in flows} == {
        ("xc.tenant.health.main", "xc.tenant.transport.main")
    }
    assert "uses" not in graph.to_mermaid(plan.only(["xc.tenant.health.main"]))
