"""The base and the platforms see nothing of an app's containers, so a change to one leaves them as they are."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.engine.drive import make_city, session_of
from wecityctl.engine.context.fingerprint import values_of
from wecityctl.engine.process.home import SDK_VERSION
from wecityctl.engine.sdk.recorder import record
from wecityctl.inputs import Cluster, StackInputs
from wecityctl.model.city import City
from wecityctl.model.outputs import Outputs
from wecityctl.session import Session, open_session

EXAMPLES = Path(__file__).parents[2] / "examples"


def shared_inputs(session: Session, known: dict[str, Outputs | None]) -> Iterator[StackInputs]:
    clusters = {cloud.name: Cluster.offline(cloud) for cloud in session.city.clouds}
    for stack in session.plan.stacks:
        if stack.layer in ("base", "platform"):
            upstream = {name: known.get(name) for name in stack.depends_on}
            yield session.inputs(stack, clusters, upstream, dict.fromkeys(stack.secrets, "redacted"), SDK_VERSION)


@pytest.mark.parametrize("example", ["xingcheng", "four-clouds"])
def test_programs_of_shared_stacks_register_the_same_of_the_whole_city(example: str) -> None:
    session = open_session(EXAMPLES / example)
    known: dict[str, Outputs | None] = {}
    layers = set()
    for inputs in shared_inputs(session, known):
        recording = record(inputs)
        assert recording == record(replace(inputs, city=session.city))
        known[inputs.stack.name] = recording.outputs
        layers.add(inputs.stack.layer)
    assert layers == {"base", "platform"}


def with_environment(city: City, value: str) -> City:
    first, *others = city.apps
    parts = tuple(replace(part, env={"LEVEL": value}, replicas=2, image=f"i:{value}") for part in first.components)
    return replace(city, apps=(replace(first, components=parts), *others))


def test_a_change_to_an_apps_containers_changes_no_shared_stack() -> None:
    city = make_city("one")
    before, after = (
        {inputs.stack.name: values_of(inputs) for inputs in shared_inputs(session_of(each), {})}
        for each in (with_environment(city, "debug"), with_environment(city, "info"))
    )
    assert len(before) == 2
    assert before == after
