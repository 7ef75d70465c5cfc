"""Cases about whole cities, as files: `tests/policy/cases/<rule>/{pass,fail}*.yaml` are cities as people write them.

Each is read and placed by the real programs, and recorded where its rule looks at the graph. Beside it,
`<name>.graph.yaml` may say what the graph has that our own programs would not make: `without`, names of recorded
resources; `change`, inputs of recorded ones; `unset`, paths to what they lack; `add`, objects or other resources. A
name may be led by its kind. `<name>.expected` has the findings; a city that passes has none.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import chdir
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import Any, NoReturn

import yaml

from stacks.catalogue import load_catalogue
from wecityctl.image_references import image_references
from wecityctl.model.catalogue import Catalogue
from wecityctl.model.city import City
from wecityctl.operations.offline import record_session
from wecityctl.placement import Placement
from wecityctl.plan import make_plan
from wecityctl.policy.check import PolicyReport, judge
from wecityctl.policy.finding_text import finding_line
from wecityctl.policy.model import PolicyInput
from wecityctl.policy.rules import rule
from wecityctl.resource_graph import RecordedResource, Recording
from wecityctl.session import Session
from wecityctl.spec import load_city

DIRECTORY = Path(__file__).with_name("cases")
TODAY = date(2026, 11, 21)


@dataclass(frozen=True)
class Case:
    """One city."""

    path: Path

    @property
    def rule(self) -> str:
        return self.path.parent.name

    @property
    def passes(self) -> bool:
        return self.path.stem.startswith("pass")

    @property
    def expected_file(self) -> Path:
        return self.path.with_suffix(".expected")

    @property
    def expected(self) -> str:
        return "" if self.passes else self.expected_file.read_text()

    def __str__(self) -> str:
        return f"{self.rule}/{self.path.stem}"


def cases() -> list[Case]:
    """Every case, by rule and name."""
    return [Case(path) for path in sorted(DIRECTORY.rglob("*.yaml")) if not path.stem.endswith(".graph")]


def findings_of(case: Case) -> str:
    """What the case's rule finds, a line each, as users see it, led by how much it weighs."""
    with chdir(case.path.parent):
        session = open_case(Path(case.path.name))
        policy_report = judge_case(session, case)
    text = "".join(
        f"{item.level}: {finding_line(item, session.positions)}\n  → {item.finding.resolution}\n"
        for item in policy_report.findings
    )
    # The images of our own recipes are named by their lock, which is not what these cases are about.
    return re.sub(r"(built\.wecity\.invalid/[\w-]+|docker\.io/library/[\w-]+):[\w.-]+", r"\1", text)


def judge_case(session: Session, case: Case) -> PolicyReport:
    """The policy report of the case's rule alone."""
    edits = case.path.with_suffix(".graph.yaml")
    files = PolicyInput(session.city, session.catalogue, session.plan.placement, session.images, _Unrecorded())
    if edits.is_file() or _looks_at_the_graph(case.rule, files):
        recordings = record_session(session)
        if edits.is_file():
            recordings = edited(recordings, yaml.safe_load(edits.read_text()))
    else:
        # Recording takes most of a case's time, and can change nothing here.
        recordings = ()
    return judge(replace(files, recordings=recordings), TODAY, (rule(case.rule),))


class _AskedError(Exception):
    """A rule wants to know what the stacks would register."""


class _Unrecorded(tuple[Recording, ...]):
    """Stands for the graph of a city that is not recorded: whoever looks at it in any way is told so."""

    __slots__ = ()

    def __iter__(self) -> NoReturn:
        raise _AskedError

    def __len__(self) -> NoReturn:
        raise _AskedError

    def __getitem__(self, index: Any) -> NoReturn:
        raise _AskedError


def _looks_at_the_graph(name: str, files: PolicyInput) -> bool:
    try:
        return any(False for _ in rule(name).check(files))
    except _AskedError:
        return True


def open_case(path: Path) -> Session:
    """The city of a case. It is placed by the letter of its files: the solver would refuse much of what rules find."""
    catalogue = {**load_catalogue(), **_more_types()}
    loaded = load_city(path, catalogue)
    city = loaded.city
    plan = make_plan(city, catalogue, first_come(city))
    return Session(path, city, catalogue, plan, image_references(city, catalogue), loaded.positions)


def first_come(city: City) -> Placement:
    """A pin wins; else the first cloud that serves the zone."""

    def choose(pin: str, zone: str) -> str:
        return pin or next(cloud.name for cloud in city.clouds if not zone or zone in cloud.zones)

    capabilities = {item.name: choose(item.cloud, item.zone) for item in city.capabilities}
    apps = {(app.tenant, app.name): choose(app.cloud, app.zone) for app in city.apps}
    gateway = next((capabilities[item.name] for item in city.capabilities if item.type == "gateway"), "")
    return Placement(capabilities, apps, gateway or city.clouds[0].name)


def _more_types() -> Catalogue:
    """A partner's database that offers SM cryptography."""
    built_in = load_catalogue()["postgresql"]
    return {"sm-database": replace(built_in, name="sm-database", sm=True)}


def edited(recordings: tuple[Recording, ...], edits: Mapping[str, Any]) -> tuple[Recording, ...]:
    """The recordings with what a case changes about them. Every edit has to meet something."""
    assert set(edits) <= {"without", "change", "unset", "add"}
    without = set(edits.get("without", ()))
    changes = {item["name"]: item["inputs"] for item in edits.get("change", ())}
    unset = {item["name"]: item["path"] for item in edits.get("unset", ())}
    met: set[str] = set()
    result = []
    for recording in recordings:
        resources = []
        for item in recording.resources:
            names = {item.name, f"{item.inputs.get('kind')} {item.name}"}
            met |= names
            if names & without:
                continue
            inputs = dict(item.inputs)
            for name in names:
                inputs |= changes.get(name, {})
                inputs = _lacking(inputs, unset.get(name, ()))
            resources.append(replace(item, inputs=inputs))
        added = [_resource(item) for item in edits.get("add", ()) if item["stack"] == recording.stack]
        met |= {recording.stack} if added else set()
        result.append(replace(recording, resources=(*resources, *added)))
    wanted = without | set(changes) | set(unset) | {item["stack"] for item in edits.get("add", ())}
    assert wanted <= met, wanted - met
    return tuple(result)


def _lacking(inputs: dict[str, Any], path: Sequence[str]) -> dict[str, Any]:
    if not path:
        return inputs
    first, *rest = path
    kept = {key: value for key, value in inputs.items() if key != first}
    return {**kept, first: _lacking(inputs[first], rest)} if rest else kept


def _resource(item: Mapping[str, Any]) -> RecordedResource:
    inputs = item["inputs"]
    version = inputs.get("apiVersion", "")
    kind = f"kubernetes:{version if '/' in version else f'core/{version}'}:{inputs.get('kind')}"
    metadata = inputs.get("metadata", {})
    name = item.get("name") or "/".join(filter(None, (metadata.get("namespace"), metadata.get("name"))))
    return RecordedResource(f"urn:{name}", item.get("type", kind), name, "", (), inputs, True, False)


def write_expected() -> Iterator[Path]:
    """Write what the failing cases give now. For `python -m tests.generate --cases`; read the difference."""
    for case in cases():
        if not case.passes:
            case.expected_file.write_text(findings_of(case), encoding="utf-8")
            yield case.expected_file
